"""`noise` on one large slab: its time beside that of its two matrix products alone, and its memory beside the slab.

    python benchmarks/noise_speed.py --out benchmarks/results/noise_speed.json

States are seeded random rows in clusters, float16 as they are stored: 303,600 rows of 576 columns, six sigmas, the default
half-width at sigma 4. Set OMP_NUM_THREADS before; nothing else should run. What has to hold: at most 1.5 times the products
(the map of past tokens apart), 90 s on two cores, 1 GiB.
"""

import argparse
import json
import resource
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ie_store.estimate.estimators.noise_curve import noise_curve
from ie_store.estimate.estimators.posterior import TILE
from ie_store.estimate.exact.past import past_of
from ie_store.estimator_options import NoiseOptions
from ie_store.prefixes import common_prefix_lengths

NAMES_PER_SHOT = 25
MIB = 2**20


def make_slab(num_rows: int, columns: int) -> Tensor:
    """(row, column) float16: three levels of clusters, as sequences that share prefixes have."""
    rng = np.random.default_rng(0)
    slab = np.empty((num_rows, columns), np.float16)
    for start in range(0, num_rows, 4096):
        rows = np.arange(start, min(start + 4096, num_rows))
        states = rng.standard_normal((len(rows), columns), dtype=np.float32)
        for level in (NAMES_PER_SHOT, NAMES_PER_SHOT**2):
            centres = [np.random.default_rng([level, group]).standard_normal(columns) for group in np.unique(rows // level)]
            states += np.array(centres, np.float32)[np.unique(rows // level, return_inverse=True)[1]]
        slab[rows] = states
    return torch.from_numpy(slab)


def seconds_of_products(num_rows: int, columns: int, num_draws: int) -> float:
    """The two products alone, tile by tile, as many as the draws take."""
    height, width = TILE["cpu"]
    tile, side = torch.randn(height, columns + 2), torch.randn(columns + 2, width)
    product = torch.empty(height, width)
    repeats = 2 * -(-num_rows // height) * -(-num_draws // width)
    tried = min(repeats, 2000)
    started = perf_counter()
    for _ in range(tried):
        torch.mm(tile, side, out=product)
    return (perf_counter() - started) * repeats / tried


def peak_mib() -> float:
    """Most memory that the process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB


def measure(num_rows: int, columns: int, max_draws: int) -> dict[str, Any]:
    """Seconds, ratio and memory of one slab."""
    slab, weights, options = make_slab(num_rows, columns), np.ones(num_rows), NoiseOptions(max_draws=max_draws)
    warm = torch.randn(512, 512)
    torch.mm(warm, warm)
    before, started = peak_mib(), perf_counter()
    curve = noise_curve(slab, weights, options, error=0.04)
    seconds = perf_counter() - started
    memory = peak_mib() - before
    products = seconds_of_products(num_rows, columns, curve.num_draws)
    rows = np.arange(num_rows)
    tokens = np.stack([rows // NAMES_PER_SHOT**2, rows // NAMES_PER_SHOT % NAMES_PER_SHOT, rows % NAMES_PER_SHOT], axis=1)
    past = past_of(tokens, common_prefix_lengths(tokens), 2)
    started = perf_counter()
    noise_curve(slab, weights, options, error=0.04, past=past)
    at = options.sigmas.index(options.sigma)
    return {
        "rows": num_rows,
        "columns": columns,
        "threads": torch.get_num_threads(),
        "sigmas": len(options.sigmas),
        "draws": curve.num_draws,
        "half_width_bits": float(curve.left.high[at] - curve.left.low[at]) / 2 / np.log(2),
        "seconds": seconds,
        "products_seconds": products,
        "ratio": seconds / products,
        "with_past_seconds": perf_counter() - started,
        "memory_mib": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=303_600)
    parser.add_argument("--columns", type=int, default=576)
    parser.add_argument("--max-draws", type=int, default=65_536)
    parser.add_argument("--out")
    options = parser.parse_args()
    found = measure(options.rows, options.columns, options.max_draws)
    print(json.dumps(found, indent=1))
    if options.out:
        Path(options.out).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
