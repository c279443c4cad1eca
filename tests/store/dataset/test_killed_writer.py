"""SIGKILL at random moments: the store resumes and ends bit for bit like one that was never interrupted."""

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from made_store import make
from test_write import tree

from ie_store.specs import Slab
from ie_store.store.open import open_reader
from ie_store.store.verify import verify_dataset

MAKE = {"rows": 90, "size": 1, "seed": 8, "hidden": 32}
PROGRAM = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); from made_store import make\n"
    f"made = make(sys.argv[1], **{MAKE!r}); print('go', flush=True); made.write()"
)


def assert_no_half_shard_is_data(made):
    """What counts is whole and true; what does not count is either not there or true as well."""
    if not Path(made.path, "zarr.json").exists():
        return
    reader = open_reader(made.store, made.name)
    missing = set(reader.missing_shards("macro"))
    for row in sorted(set(range(90)) - missing):
        rows = reader.read_rows(Slab(level="macro", layer=1, position=2), row, row + 1, verify=True)
        assert np.array_equal(rows, made.states["macro"][1, 2, row : row + 1])
    plain = zarr.open_group(made.path, mode="r")["macro"][...]
    absent = np.isnan(plain).all(axis=(0, 1, 3))
    assert np.array_equal(plain[:, :, ~absent], made.states["macro"][:, :, ~absent])
    assert set(np.flatnonzero(absent)) <= missing


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path):
    whole = make(tmp_path / "whole", **MAKE)
    start = time.monotonic()
    whole.write()
    seconds = time.monotonic() - start
    made, moment, kills = make(tmp_path / "killed", **MAKE), random.Random(0), 0
    for attempt in range(40):
        with subprocess.Popen([sys.executable, "-c", PROGRAM, made.store], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline() == "go\n"
            try:
                child.wait(timeout=moment.uniform(0, seconds / 5 if attempt < 30 else 100))
            except subprocess.TimeoutExpired:
                child.kill()
                kills += 1
        assert_no_half_shard_is_data(made)
        if child.returncode == 0:
            break
    assert child.returncode == 0
    assert kills >= 3
    assert tree(made.path) == tree(whole.path)
    assert verify_dataset(made.store, made.name).faults == []
    assert not list(Path(made.store).rglob("*.tmp"))
