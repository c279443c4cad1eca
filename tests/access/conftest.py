"""A small complete dataset."""

import pytest
from made_store import make


@pytest.fixture
def made(tmp_path):
    return make(tmp_path / "store").write()
