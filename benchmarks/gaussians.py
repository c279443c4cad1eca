"""Known answers: Gaussians of 0 to 20 nats in 16 to 768 dimensions and nonlinear images of them, by every estimator.

    python benchmarks/gaussians.py --quick              the targets at 10,000 rows
    python benchmarks/gaussians.py --out table.json     all of it
    python benchmarks/gaussians.py --coverage 100       how often an estimate exceeds the truth by two standard errors

The information sits in ``k`` canonical pairs of equal correlation, randomly rotated into all dimensions. A nonlinear
image applies an invertible map to x and another to y, which leaves the mutual information as it is.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from ie_store.estimate.mutual_information import mutual_information

COVERAGE_ROWS = 500
ESTIMATORS = ("mine", "infonce", "nwj", "smile", "js", "cca")
QUICK = (
    *((10_000, size, size, 0.0, "linear") for size in (16, 64, 256)),
    *((10_000, 16, 16, nats, "linear") for nats in (2.0, 5.0)),
    *((10_000, 64, pairs, nats, "linear") for pairs in (2, 64) for nats in (2.0, 5.0)),
)
FULL = (
    *((rows, size, size, nats, "linear") for rows in (1_000, 10_000) for size in (16, 64, 256, 768) for nats in (0.0, 2.0, 5.0)),
    *((10_000, 64, 64, nats, "linear") for nats in (10.0, 20.0)),
    *((10_000, 16, pairs, nats, "cubic") for pairs in (2, 16) for nats in (2.0, 5.0)),
    *((10_000, 16, 2, nats, "spiral") for nats in (0.0, 2.0)),
)


def gaussian(num_rows: int, size: int, num_pairs: int, nats: float, seed: int) -> tuple[Tensor, Tensor]:
    """Rows x and y (row, dimension) with ``nats`` of mutual information in ``num_pairs`` rotated pairs."""
    generator = torch.Generator().manual_seed(seed)
    correlation = math.sqrt(1 - math.exp(-2 * nats / num_pairs))
    x, y = (torch.randn(num_rows, size, generator=generator) for _ in range(2))
    y[:, :num_pairs] = correlation * x[:, :num_pairs] + math.sqrt(1 - correlation**2) * y[:, :num_pairs]
    turns = [torch.linalg.qr(torch.randn(size, size, generator=generator))[0] for _ in range(2)]
    return x @ turns[0], y @ turns[1]


def image(kind: str, values: Tensor) -> Tensor:
    """An invertible map: none, a cube of each dimension, or a turn of neighbouring dimensions by their radius."""
    if kind == "linear":
        return values
    if kind == "cubic":
        return values**3
    first, second = values[:, 0::2], values[:, 1::2]
    angle = (first.square() + second.square()).sqrt()
    turned = torch.stack([first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos()], -1)
    return turned.flatten(1)


def measure(
    cases: tuple[tuple[int, int, int, float, str], ...], estimators: list[str], seeds: int
) -> Iterator[dict[str, object]]:
    for num_rows, size, num_pairs, nats, kind in cases:
        for seed in range(seeds):
            x, y = gaussian(num_rows, size, num_pairs, nats, seed)
            for name in estimators:
                started = time.perf_counter()
                found = mutual_information(image(kind, x), image(kind, y), estimator=name, seed=seed)
                yield {
                    "rows": num_rows,
                    "dimensions": size,
                    "pairs": num_pairs,
                    "image": kind,
                    "truth_nats": nats,
                    "estimator": name,
                    "seed": seed,
                    "nats": found.nats,
                    "standard_error_nats": found.standard_error_nats,
                    "outcome": str(found.outcome),
                    "seconds": time.perf_counter() - started,
                }


def covered(job: tuple[str, int, int]) -> dict[str, Any]:
    """One of ``runs`` seeded Gaussians of 0 to 5 nats in 16 dimensions, in 2 pairs or in all of them."""
    name, seed, runs = job
    nats = 5.0 * seed / max(1, runs - 1)
    x, y = gaussian(COVERAGE_ROWS, 16, (2, 16)[seed % 2], nats, 1000 + seed)
    found = mutual_information(x, y, estimator=name, seed=seed)
    print(f"{name} run {seed}: truth {nats:.3f}, {found.nats:.3f} +- {found.standard_error_nats:.3f}", flush=True)
    return {"estimator": name, "error": found.nats - nats, "above": found.nats > nats + 2 * found.standard_error_nats}


def coverage(estimators: list[str], runs: int, processes: int) -> list[dict[str, Any]]:
    """How many runs lie above the truth by more than two of their own standard errors."""
    jobs = [(name, seed, runs) for name in estimators for seed in range(runs)]
    with ProcessPoolExecutor(processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        found = list(pool.map(covered, jobs))
    counts = []
    for name in estimators:
        own = [run for run in found if run["estimator"] == name]
        above, errors = sum(run["above"] for run in own), [run["error"] for run in own]
        counts.append({"estimator": name, "runs": runs, "rows": COVERAGE_ROWS, "above": above, "mean_error_nats": fmean(errors)})
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only the targets at 10,000 rows")
    parser.add_argument("--estimators", nargs="+", default=list(ESTIMATORS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--coverage", type=int, default=0, metavar="RUNS", help="count values above the truth instead")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="of one thread each, for --coverage")
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    options = parser.parse_args()
    if options.coverage:
        counts = coverage(options.estimators, options.coverage, options.processes)
        print(json.dumps(counts, indent=1))
        if options.out:
            options.out.write_text(json.dumps(counts, indent=1))
        return
    results = []
    print("  rows dims pairs image   truth  estimator      nats     +-  share  outcome        seconds")
    for row in measure(QUICK if options.quick else FULL, options.estimators, options.seeds):
        results.append(row)
        share = f"{row['nats'] / row['truth_nats']:6.2f}" if row["truth_nats"] else "     -"
        print(
            f"{row['rows']:6d} {row['dimensions']:4d} {row['pairs']:5d} {row['image']:7s}{row['truth_nats']:6.1f}  "
            f"{row['estimator']:9s} {row['nats']:9.3f} {row['standard_error_nats']:6.3f} {share}  "
            f"{row['outcome']:14s} {row['seconds']:7.1f}",
            flush=True,
        )
        if options.out:
            options.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
