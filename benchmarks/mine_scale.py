"""Time and memory of one macro problem by the number of its rows: synthetic slabs with known information, or a stored dataset.

    python benchmarks/mine_scale.py --rows 20000 60000 303600 --out benchmarks/results/mine_scale.json
    python benchmarks/mine_scale.py --store /tmp/s --name MODEL/CORPUS --block 1 --out benchmarks/results/mine_scale.json

Every measurement runs in a process of its own. Slabs are float16 of ``--size`` dimensions; 64 pairs of them are Gaussian with
a correlation, so that the information is known. Memory is the peak of the resident set beside imports and the slabs, and
with them. What stands in the results already under the same settings is measured anew and replaced.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAIRS = 64
"""Correlated dimensions."""
ROWS_AT_ONCE = 8192


def synthetic(num_rows: int, size: int, correlation: float) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """Slabs x and y (row, dimension), the first `PAIRS` dimensions of which are correlated."""
    generator = np.random.default_rng(0)
    x, y = (np.empty((num_rows, size), np.float16) for _ in range(2))
    for start in range(0, num_rows, ROWS_AT_ONCE):
        shape = (min(ROWS_AT_ONCE, num_rows - start), size)
        left, right = (generator.standard_normal(shape, dtype=np.float32) for _ in range(2))
        right[:, :PAIRS] = correlation * left[:, :PAIRS] + (1 - correlation**2) ** 0.5 * right[:, :PAIRS]
        x[start : start + ROWS_AT_ONCE], y[start : start + ROWS_AT_ONCE] = left, right
    return x, y


def stored(store: str, name: str, block: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Slabs of a block at the last position of a dataset."""
    import torch

    from ie_store.estimate.read import read_states
    from ie_store.estimate.stored_rows import Room
    from ie_store.specs import Slab
    from ie_store.store.open import open_reader

    reader = open_reader(store, name)
    last = reader.layout.num_positions - 1
    slabs = (Slab(level="macro", layer=layer, position=last) for layer in (block, block + 1))
    x, y = (read_states(reader, slab, Room(torch.device("cpu"))).rows.tile(slice(None)).numpy() for slab in slabs)
    return x, y


def resident() -> int:
    """Bytes of the resident set."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """One problem, in this process."""
    import torch

    from ie_store.estimate.critics.rows import PairedSlabs
    from ie_store.estimate.estimators.cross_fit import cross_fit
    from ie_store.estimators import estimator_spec

    torch.set_num_threads(arguments.threads)
    imported = resident()
    if arguments.store:
        x, y = stored(arguments.store, arguments.name, arguments.block)
    else:
        x, y = synthetic(arguments.rows[0], arguments.size, arguments.correlation)
    before, peak, ended = resident(), [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started, worked = time.perf_counter(), time.process_time()
    pairs = PairedSlabs.of([torch.from_numpy(x)], [torch.from_numpy(y)])
    (found,) = cross_fit(pairs, estimator_spec(arguments.estimator), groups=np.arange(len(x)))
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    ended.set()
    watcher.join()
    return {
        "estimator": arguments.estimator,
        "data": f"{arguments.name}, block {arguments.block}" if arguments.store else "synthetic",
        "truth_nats": log(len(x)) if arguments.store else -0.5 * PAIRS * log(1 - arguments.correlation**2),
        "rows": len(x),
        "size": x.shape[1],
        "threads": arguments.threads,
        "seconds": round(seconds, 1),
        "processor_seconds": round(worked, 1),
        "microseconds_per_row": round(1e6 * seconds / len(x), 1),
        "slab_bytes": x.nbytes + y.nbytes,
        "bytes_beside_slabs": peak[0] - before,
        "bytes_beside_imports": peak[0] - imported,
        "nats": found.nats,
        "standard_error_nats": found.standard_error_nats,
        "outcome": str(found.outcome),
        "num_references": found.diagnostics.get("num_references"),
        "steps": found.diagnostics["steps"],
        "torch": torch.__version__,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 60_000, 303_600])
    parser.add_argument("--size", type=int, default=576)
    parser.add_argument("--correlation", type=float, default=0.3)
    parser.add_argument("--estimator", default="mine")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--store", default="")
    parser.add_argument("--name", default="")
    parser.add_argument("--block", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure each number of rows in a process of its own, print a line, and keep the rows of the table."""
    arguments = _arguments()
    if arguments.here:
        print(json.dumps(measure(arguments)))
        return
    kept = json.loads(arguments.out.read_text()) if arguments.out and arguments.out.exists() else []
    for rows in [0] if arguments.store else arguments.rows:
        command = [sys.executable, __file__, *_without_rows(sys.argv[1:]), "--here", "--rows", str(rows)]
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(row)
        same = ("estimator", "data", "rows", "size", "threads")
        kept = [other for other in kept if any(other[key] != row[key] for key in same)] + [row]
        if arguments.out:
            arguments.out.write_text(json.dumps(kept, indent=1) + "\n")


def _without_rows(given: list[str]) -> list[str]:
    """The command line without ``--rows`` and its numbers."""
    if "--rows" not in given:
        return given
    first = given.index("--rows")
    last = first + 1
    while last < len(given) and not given[last].startswith("--"):
        last += 1
    return given[:first] + given[last:]


if __name__ == "__main__":
    main()
