"""`noise` on one large slab: its time beside that of its two matrix products alone, and its memory beside the slab.

    python benchmarks/noise_speed.py [--dataset STORE/MODEL/CORPUS --layer 2] --out benchmarks/results/noise_speed.json

The last position of a dataset of distinct sequences, or else seeded random rows in clusters, float16 as they are stored: 303,600
rows of 576 columns, six sigmas, the default half-width at sigma 4. The products run over the same tiles in as many threads,
before and after, since machines change their pace.
Set OMP_NUM_THREADS before; nothing else should run. What has to hold: at most 1.5 times the products (the map of past tokens
apart), 90 s on two cores, 1 GiB.
"""

import argparse
import json
import resource
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.estimate.device import each_on_one_thread
from ie_store.estimate.estimators.noise_curve import noise_curve
from ie_store.estimate.estimators.posterior import TILE
from ie_store.estimate.exact.past import past_of
from ie_store.estimator_options import NoiseOptions
from ie_store.prefixes import common_prefix_lengths
from ie_store.specs import Slab
from ie_store.store.open import open_reader

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


def make_tokens(num_rows: int) -> NDArray[np.int64]:
    """(row, position) three tokens a row, in lexicographic order: the clusters."""
    rows = np.arange(num_rows)
    return np.stack([rows // NAMES_PER_SHOT**2, rows // NAMES_PER_SHOT % NAMES_PER_SHOT, rows % NAMES_PER_SHOT], axis=1)


def stored(dataset: str, layer: int) -> tuple[Tensor, NDArray[np.integer]]:
    """A dataset's slab at its last position, and its tokens, in lexicographic order."""
    store, _, name = dataset.rstrip("/").rpartition("/")
    store, _, model = store.rpartition("/")
    reader = open_reader(store, f"{model}/{name}")
    order = np.lexsort(reader.tokens.T[::-1])
    slab = reader.read_slab(Slab(level="macro", layer=layer, position=reader.layout.positions[-1]))
    return torch.from_numpy(slab[order]), reader.tokens[order]


def seconds_of_products(slab: Tensor) -> NDArray[np.float64]:
    """The two products alone, tile by tile over all rows, for one draw, in as many threads: by the clock, and of the
    processor."""
    height, width = TILE["cpu"]
    states = torch.nn.functional.pad(slab.float(), (0, 2))

    def multiply(_: int) -> None:
        sides, product = torch.randn(2, width, states.shape[1]), torch.empty(height, width)
        for top in range(0, len(states) - height + 1, height):
            for side in sides:
                torch.mm(states[top : top + height], side.T, out=product)

    tried = 8
    started, processor = perf_counter(), process_time()
    for _ in each_on_one_thread(multiply, range(tried), slab.device):
        pass
    return np.array([perf_counter() - started, process_time() - processor]) / (tried * width)


def peak_mib() -> float:
    """Most memory that the process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB


def measure(slab: Tensor, tokens: NDArray[np.integer], max_draws: int) -> dict[str, Any]:
    """Seconds, ratio and memory of one slab."""
    num_rows, columns = slab.shape
    weights, options = np.ones(num_rows), NoiseOptions(max_draws=max_draws)
    past = past_of(tokens, common_prefix_lengths(tokens), tokens.shape[1] - 1)
    before, started = peak_mib(), perf_counter()
    noise_curve(slab, weights, options, error=0.04, past=past)
    with_past, memory = perf_counter() - started, peak_mib() - before
    products = seconds_of_products(slab)
    started, processor = perf_counter(), process_time()
    curve = noise_curve(slab, weights, options, error=0.04)
    seconds, processor_seconds = perf_counter() - started, process_time() - processor
    products = (products + seconds_of_products(slab)) / 2 * curve.num_draws
    at = options.sigmas.index(options.sigma)
    return {
        "rows": num_rows,
        "columns": columns,
        "threads": torch.get_num_threads(),
        "sigmas": len(options.sigmas),
        "draws": curve.num_draws,
        "bits": float(curve.left.nats[at]) / np.log(2),
        "half_width_bits": float(curve.left.high[at] - curve.left.low[at]) / 2 / np.log(2),
        "seconds": seconds,
        "products_seconds": products[0],
        "ratio": seconds / products[0],
        "processor_seconds": processor_seconds,
        "products_processor_seconds": products[1],
        "processor_ratio": processor_seconds / products[1],
        "with_past_seconds": with_past,
        "memory_mib": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=303_600)
    parser.add_argument("--columns", type=int, default=576)
    parser.add_argument("--dataset", help="STORE/MODEL/CORPUS of distinct sequences with their last position")
    parser.add_argument("--layer", type=int, default=2)
    parser.add_argument("--max-draws", type=int, default=65_536)
    parser.add_argument("--out")
    options = parser.parse_args()
    if options.dataset:
        slab, tokens = stored(options.dataset, options.layer)
    else:
        slab, tokens = make_slab(options.rows, options.columns), make_tokens(options.rows)
    found = {"dataset": options.dataset and Path(options.dataset).name, "layer": options.layer} | measure(
        slab, tokens, options.max_draws
    )
    print(json.dumps(found, indent=1))
    if options.out:
        Path(options.out).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
