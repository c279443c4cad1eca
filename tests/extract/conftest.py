"""A tiny model and rows that tests of whole runs share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import prefix_rows, save_tiny

from ie_store.options import ExtractSpec


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("models"), "llama")


@pytest.fixture
def make_spec(tmp_path: Path, llama_folder: Path) -> Callable[..., ExtractSpec]:
    """Specs of one store, model and corpus; keywords change them."""
    np.save(tmp_path / "rows.npy", prefix_rows())

    def make(**more: Any) -> ExtractSpec:
        options = {"store": str(tmp_path / "store"), "model": str(llama_folder), "corpus": f"tokens:{tmp_path / 'rows.npy'}"}
        return ExtractSpec(**{**options, "audit_rows": 3, **more})

    return make
