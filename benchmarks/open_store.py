"""A slab through `open_store`: as float32 (the default) and as stored, checked and not, in time and in memory, in one run.

    python benchmarks/open_store.py [--rows 131072] [--hidden 576] [--rounds 15] [--folder /tmp] [--out FILE.json]

Writes a small store of rows that no codec shrinks (float16, warm in the page cache), then reads the same slab by every way in
turn, round after round. Ratios are medians of the ratios within a round, so that a busy machine slows both sides alike. Peak
memory is that of a new process which reads the slab once, beyond what it holds when the dataset is open.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from slab_read import NAME, SLAB, keep, slab_parser, write_store

import ie_store

BASE = "as stored, unverified"
WAYS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "as stored": {"dtype": "stored"},
    "float32, unverified": {"dtype": "float32", "verify": False},
    "as stored, unverified": {"dtype": "stored", "verify": False},
}
CONVERTED = "as stored, then astype(float32)"
PLAIN = "xr.open_zarr, then astype(float32)"


def slab_of(path: str, way: str) -> xr.DataArray:
    """The slab, lazily, as a user would ask for it."""
    if way == PLAIN:
        states = xr.open_zarr(path, consolidated=False).macro
    else:
        store, model, corpus = path.rsplit("/", 2)
        states = ie_store.open_store(store, f"{model}/{corpus}", **WAYS.get(way, WAYS["as stored"])).macro
    chosen = states.sel(layer=SLAB.layer, position=SLAB.position)
    return chosen.astype(np.float32) if way in (CONVERTED, PLAIN) else chosen


def reading(slab: xr.DataArray) -> Callable[[], Any]:
    return lambda: slab.compute()


def speeds(path: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, round by round."""
    calls = {way: reading(slab_of(path, way)) for way in (*WAYS, CONVERTED, PLAIN)}
    seconds: dict[str, list[float]] = {way: [] for way in calls}
    for number in range(rounds + 1):
        for way, call in calls.items():
            start = time.perf_counter()
            call()
            if number:  # the first round warms up
                seconds[way].append(time.perf_counter() - start)
    return seconds


def peak_megabytes(path: str, way: str) -> float:
    """Most memory that one reading adds to a process that has opened the dataset."""
    program = [sys.executable, __file__, "--peak", way, "--path", path]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    return float(done.stdout)


def own_peak(path: str, way: str) -> float:
    slab = slab_of(path, way)
    slab[:1].compute()  # what is loaded once: modules, threads, indices
    Path("/proc/self/clear_refs").write_text("5")  # from here on the kernel counts the peak anew
    before = status("VmRSS")
    kept = slab.compute()
    added = status("VmHWM") - before
    return added / 1e6 if kept.size else 0.0


def status(field: str) -> int:
    """Bytes of a line of this process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def casts(rows: int, hidden: int) -> dict[str, float]:
    """GB/s (of float16) of numpy's ways to make float32 of a shard's chunk, in one thread."""
    states = np.random.default_rng(0).standard_normal((rows, hidden)).astype(np.float16)
    out = np.empty(states.shape, np.float32)
    table = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    ways: dict[str, Callable[[], Any]] = {
        "astype": lambda: states.astype(np.float32),
        "copyto, reused": lambda: np.copyto(out, states),
        "table of 65,536, reused": lambda: np.take(table, states.view(np.uint16), out=out, mode="wrap"),
    }
    found = {}
    for way, call in ways.items():
        seconds = []
        for _ in range(21):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        found[way] = states.nbytes / statistics.median(seconds) / 1e9
    return found


def measure(path: str, options: argparse.Namespace) -> dict[str, Any]:
    seconds = speeds(path, options.rounds)
    stored_bytes = options.rows * options.hidden * 2

    def ratio(way: str) -> float:
        return statistics.median(mine / theirs for mine, theirs in zip(seconds[way], seconds[BASE], strict=True))

    return {
        way: {
            "milliseconds": 1e3 * statistics.median(values),
            f"time over {BASE}": ratio(way),
            "stored gigabytes_per_second": stored_bytes / statistics.median(values) / 1e9,
            "peak megabytes": peak_megabytes(path, way),
        }
        for way, values in seconds.items()
    }


def main() -> None:
    parser = slab_parser(__doc__, rounds=15)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--path", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(own_peak(options.path, options.peak))
        return
    folder = tempfile.mkdtemp(dir=options.folder, prefix="open_store-")
    try:
        write_store(f"{folder}/store", options.rows, options.hidden, options.shard_rows)
        found = measure(f"{folder}/store/{NAME}", options)
    finally:
        shutil.rmtree(folder)
    cast = casts(options.shard_rows, options.hidden)
    print(f"{'':34}{'ms':>10}{'/ ' + BASE:>26}{'GB/s stored':>14}{'peak MB':>10}")
    for way, values in found.items():
        time_ms, over, speed, peak = values.values()
        print(f"{way:34}{time_ms:10.1f}{over:26.2f}{speed:14.2f}{peak:10.0f}")
    print("float16 to float32, one thread: " + ", ".join(f"{way} {value:.1f} GB/s" for way, value in cast.items()))
    keep(options, ways=found, casts=cast)


if __name__ == "__main__":
    main()
