"""Batches for PyTorch against reading the slab they are made of, in one run.

    python benchmarks/batches.py [--rows 131072] [--hidden 576] [--batch-size 512] [--rounds 9] [--folder /tmp] [--out FILE.json]

Writes a small store of rows that no codec shrinks (float16, warm in the page cache). Then, round after round, it reads a slab
whole and checked, as float16 (`read_slab`) and as float32 (`open_store`), and goes through batches of it: in a uniform
permutation, once and four times, mixed within groups of a quarter of the rows, and as stored; as float16 and as float32. Reading
is part of the time, which runs from the call of `ds.ie.batches` to the last batch. Speeds are medians of rows a second; ratios
are medians of the ratios within a round, to the read of the same dtype.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from slab_read import NAME, SLAB, keep, slab_parser, write_store

import ie_store
from ie_store.store.open import open_reader

READS = {"stored": "read as float16", "float32": "read as float32"}
EPOCHS = 4


def epoch(dataset: Any, **options: Any) -> None:
    """Go through all batches of the slab."""
    for _ in dataset.ie.batches(SLAB.layer, SLAB.position, **options):
        pass


def ways(store: str, options: argparse.Namespace) -> dict[tuple[str, str], Callable[[], Any]]:
    """What is timed, by name and dtype."""
    reader, dataset = open_reader(store, NAME), ie_store.open_store(store, NAME)
    lazy = ie_store.open_store(store, NAME, chunks=None).macro.sel(layer=SLAB.layer, position=SLAB.position)
    found: dict[tuple[str, str], Callable[[], Any]] = {
        (READS["stored"], "stored"): lambda: reader.read_slab(SLAB),
        (READS["float32"], "float32"): lambda: lazy.copy().values,
    }
    kinds = {
        "uniform permutation": {},
        f"the same, {EPOCHS} epochs": {"epochs": EPOCHS},
        "mixed within a quarter": {"memory_bytes": options.rows * options.hidden * 2 // 4},
        "as stored": {"shuffle": False},
    }
    for dtype in READS:
        for kind, given in kinds.items():
            asked = {"batch_size": options.batch_size, "dtype": dtype, **given}
            found[kind, dtype] = lambda asked=asked: epoch(dataset, **asked)
    return found


def measure(store: str, options: argparse.Namespace) -> dict[str, Any]:
    calls = ways(store, options)
    speeds: dict[tuple[str, str], list[float]] = {way: [] for way in calls}
    for number in range(options.rounds + 1):
        for (kind, dtype), call in calls.items():
            start = time.perf_counter()
            call()
            rows = options.rows * (EPOCHS if "epochs" in kind else 1)
            if number:  # the first round warms up
                speeds[kind, dtype].append(rows / (time.perf_counter() - start))
    return {
        f"{kind}, {dtype}": {
            "rows_per_second": round(statistics.median(values)),
            "gigabytes_stored_per_second": statistics.median(values) * options.hidden * 2 / 1e9,
            "over the read": statistics.median(
                mine / read for mine, read in zip(values, speeds[READS[dtype], dtype], strict=True)
            ),
        }
        for (kind, dtype), values in speeds.items()
    }


def main() -> None:
    parser = slab_parser(__doc__, rounds=9)
    parser.add_argument("--batch-size", type=int, default=512)
    options = parser.parse_args()
    folder = tempfile.mkdtemp(dir=options.folder, prefix="batches-")
    try:
        write_store(f"{folder}/store", options.rows, options.hidden, options.shard_rows)
        found = measure(f"{folder}/store", options)
    finally:
        shutil.rmtree(folder)
    print(f"{'':34}{'rows/s':>14}{'GB/s':>8}{'/ the read':>14}")
    for way, values in found.items():
        rows, speed, ratio = values.values()
        print(f"{way:34}{rows:>14,}{speed:8.2f}{ratio:14.2f}")
    keep(options, ways=found)


if __name__ == "__main__":
    main()
