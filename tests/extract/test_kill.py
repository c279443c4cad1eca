"""SIGKILL at random moments: what counts as written is right, and the resumed store equals one never interrupted."""

import random
import time
from pathlib import Path
from typing import Any

import killed
import numpy as np
import pytest
from forked import started
from tiny_models import prefix_rows

from ie_store.errors import StoreError
from ie_store.specs import Level, Slab
from ie_store.store.open import DatasetReader, open_reader

pytestmark = pytest.mark.slow
NAME = "m/c"


def start(options: dict[str, Any]) -> Any:
    """A process that extracts."""
    return started(killed.run, options)


def shard_bytes(store: Path) -> dict[str, bytes]:
    paths = sorted(path for level in ("macro", "micro") for path in (store / NAME / level / "c").rglob("*") if path.is_file())
    return {str(path.relative_to(store)): path.read_bytes() for path in paths}


def require_sound(store: Path, whole: DatasetReader) -> int:
    """Every shard that counts has the values of the whole run, every other one refuses to be read; how many count."""
    try:
        reader = open_reader(str(store), NAME)
    except StoreError:
        return 0
    count = 0
    levels: list[tuple[Level, int | None]] = [("macro", 8), ("micro", None)]
    for level, position in levels:
        missing = set(reader.missing_shards(level))
        for index in range(reader.layout.num_shards(level)):
            shard, slab = reader.layout.shard(level, index), Slab(level=level, layer=2, position=position)
            if index in missing:
                with pytest.raises(StoreError):
                    reader.read_rows(slab, shard.start, shard.stop)
                continue
            rows = reader.read_rows(slab, shard.start, shard.stop, verify=True)
            assert np.array_equal(rows, whole.read_rows(slab, shard.start, shard.stop))
            count += 1
    return count


@pytest.mark.timeout(600)
def test_killed_ten_times_and_resumed_is_never_interrupted(llama_folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", prefix_rows(num_rows=400))
    options = {"model": str(llama_folder), "corpus": f"tokens:{tmp_path / 'rows.npy'}", "name": NAME, "audit_rows": 2}
    whole, store = tmp_path / "whole", tmp_path / "killed"
    start({**options, "store": str(whole)}).join()  # the first start loads the server
    began = time.monotonic()
    start({**options, "store": str(tmp_path / "timed")}).join()
    lasts = time.monotonic() - began
    reader, chance = open_reader(str(whole), NAME), random.Random(5)
    assert reader.complete
    kills, counts = 0, [0]
    while kills < 10:
        process = start({**options, "store": str(store)})
        process.join(chance.uniform(0.1, 1.0) * lasts)
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
        counts.append(require_sound(store, reader))
        assert counts[-1] >= counts[-2]
        if counts[-1] == len(shard_bytes(whole)):
            lasts, counts, store = lasts * 0.7, [0], tmp_path / f"killed{kills}"
    final = start({**options, "store": str(store)})
    final.join()
    assert final.exitcode == 0
    assert open_reader(str(store), NAME).complete
    assert shard_bytes(store) == shard_bytes(whole)
    assert not list(store.rglob("*.tmp"))
