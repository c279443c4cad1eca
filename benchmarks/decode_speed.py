"""`decode` on one large slab: processor time beside that of its matrix products alone, and memory beside the slab.

    python benchmarks/decode_speed.py [--dataset STORE/MODEL/CORPUS --layer 2] --out benchmarks/results/decode_speed.json

The last position of a dataset of distinct sequences, or else seeded float16 states of the prefixes that four names out of 25
make: 303,600 rows of 576 columns, default options. The products are those that no linear reader does without: covariance of
the train rows, the scored rows on their axes, and the sum over last tokens for the scored rows. Set OMP_NUM_THREADS before;
nothing else should run. What has to hold: 40 processor seconds a slab.
"""

import argparse
import json
import resource
from itertools import permutations
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.estimate.critics.folds import Fold
from ie_store.estimate.device import each_on_one_thread
from ie_store.estimate.estimators.decode_design import ROWS_AT_ONCE
from ie_store.estimate.estimators.decode_reader import Listed, draw_test_rows, list_prefixes, read_fold, split_prefixes
from ie_store.estimate.exact.prefix_index import DistinctPrefixes
from ie_store.estimator_options import DecodeOptions
from ie_store.specs import Slab
from ie_store.store.open import open_reader

SEPARATOR = 0
NOISE = 4.0
"""Of the made states, beside the 1 that each of four names adds."""
MIB = 2**20


def make_tokens(names: int, shots: int) -> NDArray[np.int64]:
    """(row, position) names and separators in turn, sorted."""
    chosen = np.array(list(permutations(range(1, names + 1), shots)))
    tokens = np.full((len(chosen), 2 * shots), SEPARATOR)
    tokens[:, ::2] = chosen
    return tokens


def make_states(tokens: NDArray[np.int64], columns: int) -> NDArray[np.float16]:
    """(row, column) the sum of what stands at each position, and noise."""
    rng = np.random.default_rng(0)
    tables = rng.standard_normal((tokens.shape[1], tokens.max() + 1, columns), dtype=np.float32)
    states = np.empty((len(tokens), columns), np.float16)
    for start in range(0, len(tokens), 4096):
        part = tokens[start : start + 4096]
        total = NOISE * rng.standard_normal((len(part), columns), dtype=np.float32)
        for position in range(tokens.shape[1]):
            total += tables[position][part[:, position]]
        states[start : start + 4096] = total
    return states


def stored(dataset: str, layer: int) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[Any]]:
    """A dataset's slab at its last position, its tokens as rows of the states of lone tokens, and these."""
    store, _, name = dataset.rstrip("/").rpartition("/")
    store, _, model = store.rpartition("/")
    reader = open_reader(store, f"{model}/{name}")
    tokens = np.unique(reader.tokens, return_inverse=True)[1]
    alone = reader.read_slab(Slab(level="micro", layer=0, position=None))
    return reader.read_slab(Slab(level="macro", layer=layer, position=reader.layout.positions[-1])), tokens, alone


def seconds_of_products(rows: Tensor, listed: Listed, folds: tuple[Fold, ...], options: DecodeOptions) -> float:
    """Processor seconds of the products alone, on one thread."""
    tile = rows[:ROWS_AT_ONCE].float()
    axes, last = torch.randn(rows.shape[1], rows.shape[1]), listed.tree.last
    started = process_time()
    for number, fold in enumerate(folds):
        for _ in range(-(-len(fold.train.rows) // ROWS_AT_ONCE)):
            tile.T @ tile
        scored = len(draw_test_rows(fold, number, options)[0]) + len(fold.validation.rows[:1024])
        rows[:scored].float() @ axes
        if last is not None:
            for _ in range(-(-scored // 32)):
                last.shares @ torch.ones(last.shares.shape[1], 32)
    return process_time() - started


def peak_mib() -> float:
    """Most memory that the process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB


def measure(states: NDArray[Any], tokens: NDArray[np.int64], alone: NDArray[Any]) -> dict[str, Any]:
    """Seconds, ratio and memory of one slab."""
    options, counts, rows = DecodeOptions(), np.ones(len(states), np.int64), torch.from_numpy(states)
    numbers = np.arange(len(states))
    outcomes = DistinctPrefixes(of_sequence=numbers, first_rows=numbers, counts=counts)
    before, wall, started = peak_mib(), perf_counter(), process_time()
    listed, folds = list_prefixes(tokens, counts, torch.from_numpy(alone).float()), split_prefixes(outcomes, options)
    prepared = process_time()
    readings = list(
        each_on_one_thread(lambda n: read_fold(rows, listed, folds[n], n, options), range(len(folds)), torch.device("cpu"))
    )
    seconds, wall = process_time() - started, perf_counter() - wall
    memory, threads = peak_mib() - before, torch.get_num_threads()
    torch.set_num_threads(1)
    products = seconds_of_products(rows, listed, folds, options)
    return {
        "rows": len(states),
        "columns": states.shape[1],
        "nodes": listed.tree.num_nodes,
        "folds": len(folds),
        "scored": sum(len(reading.scored) for reading in readings),
        "bits": float(np.mean([reading.nats for reading in readings])) / np.log(2),
        "exact_bits": float(np.log2(len(states))),
        "threads": threads,
        "wall_seconds": wall,
        "preparing_processor_seconds": prepared - started,
        "processor_seconds": seconds,
        "products_processor_seconds": products,
        "ratio": seconds / products,
        "memory_mib": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=25)
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--columns", type=int, default=576)
    parser.add_argument("--dataset", help="STORE/MODEL/CORPUS of distinct sequences with their last position")
    parser.add_argument("--layer", type=int, default=2)
    parser.add_argument("--out")
    options = parser.parse_args()
    if options.dataset:
        states, tokens, alone = stored(options.dataset, options.layer)
    else:
        tokens = make_tokens(options.names, options.shots)
        states, alone = make_states(tokens, options.columns), make_states(np.arange(options.names + 1)[:, None], options.columns)
    found = {"dataset": options.dataset and Path(options.dataset).name, "layer": options.layer} | measure(states, tokens, alone)
    print(json.dumps(found, indent=1))
    if options.out:
        Path(options.out).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
