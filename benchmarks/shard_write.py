"""Writing shards against writing their bytes: `DatasetWriter.write_shard` and a plain write with fsync, in one run.

    python benchmarks/shard_write.py [--shards 8] [--rounds 5] [--folder FOLDER] [--out FILE.json]

Rows that no codec shrinks (float16, 31 layers, 8 positions, 576 dimensions), so that the disk is the limit: each is encoded,
summed, written, synchronised, renamed and entered in the ledger. The floor writes files of the same bytes, one ``write``
and one ``fsync`` each. Turns change within a round; ratios are taken round by round.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from slab_read import open_random_store

ROWS_PER_SHARD, LAYERS, POSITIONS, HIDDEN = 256, 31, 8, 576


def write_shards(folder: Path, states: np.ndarray[Any, Any], shards: int) -> float:
    """Seconds for ``shards`` shards of the same states."""
    with open_random_store(str(folder), shards * ROWS_PER_SHARD, HIDDEN, ROWS_PER_SHARD, LAYERS, POSITIONS) as writer:
        layout = writer.layout
        start = time.perf_counter()
        for index in range(shards):
            writer.write_shard(layout.shard("macro", index), states)
        return time.perf_counter() - start


def write_raw(folder: Path, data: memoryview, shards: int) -> float:
    """Seconds for ``shards`` files of the same bytes."""
    folder.mkdir()
    start = time.perf_counter()
    for index in range(shards):
        with (folder / str(index)).open("wb", buffering=0) as file:
            file.write(data)
            os.fsync(file.fileno())
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    states = random.integers(0, 2**16, (LAYERS, POSITIONS, ROWS_PER_SHARD, HIDDEN), np.uint16).view(np.float16)
    seconds: dict[str, list[float]] = {"write_shard": [], "raw write and fsync": []}
    for number in range(options.rounds + 1):
        ways = {
            "write_shard": lambda folder: write_shards(folder, states, options.shards),
            "raw write and fsync": lambda folder: write_raw(folder, memoryview(states).cast("B"), options.shards),
        }
        for way in sorted(ways, reverse=number % 2 == 1):
            folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="shard_write-")) / "run"
            took = ways[way](folder)
            shutil.rmtree(folder.parent)
            if number:  # the first round warms up
                seconds[way].append(took)
    num_bytes = states.nbytes * options.shards
    ratios = [raw / ours for ours, raw in zip(*seconds.values(), strict=True)]
    for way, values in seconds.items():
        print(f"{way:20} {num_bytes / statistics.median(values) / 1e9:6.2f} GB/s")
    print(f"write_shard reaches {statistics.median(ratios):.2f} of the floor (rounds {min(ratios):.2f}..{max(ratios):.2f})")
    if options.out:
        found = {"platform": platform.platform(), "bytes": num_bytes, "seconds": seconds, "ratio": statistics.median(ratios)}
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
