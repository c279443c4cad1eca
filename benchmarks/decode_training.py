"""What trained heads add to those in closed form: held-out bits and processor time of `decode`, layer by layer.

    python benchmarks/decode_training.py STORE/MODEL/CORPUS --layers 1,5,12,20,29 --out benchmarks/results/decode_training.json
    python benchmarks/decode_training.py STORE/MODEL/CORPUS --layers 12 --folds 1 --set RANK=128 --set RATE=1e-3   (a constant)

The dataset's last position, default options, both on the same folds. Set OMP_NUM_THREADS before; nothing else should run.
What has to hold: no layer reads less than in closed form.
"""

import argparse
import json
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ie_store.estimate.critics.folds import Fold
from ie_store.estimate.device import each_on_one_thread
from ie_store.estimate.estimators import decode_reader, decode_training
from ie_store.estimate.estimators.decode import combine_folds
from ie_store.estimate.estimators.decode_reader import Listed, list_prefixes, read_fold, split_prefixes
from ie_store.estimate.exact.prefix_index import DistinctPrefixes
from ie_store.estimator_options import DecodeOptions
from ie_store.prefixes import common_prefix_lengths, entropy_nats
from ie_store.specs import Slab
from ie_store.store.dataset.reader import DatasetReader
from ie_store.store.open import open_reader

CLOSED, TRAINED = 0.0, decode_reader.ENOUGH


def listed_of(reader: DatasetReader) -> tuple[Listed, DistinctPrefixes]:
    """The distinct sequences of a dataset, and the row of each."""
    starts = common_prefix_lengths(reader.tokens) < reader.tokens.shape[1]
    of_sequence, first_rows = np.cumsum(starts) - 1, np.flatnonzero(starts)
    outcomes = DistinctPrefixes(of_sequence=of_sequence, first_rows=first_rows, counts=np.bincount(of_sequence))
    tokens = np.unique(reader.tokens, return_inverse=True)[1].reshape(reader.tokens.shape)[first_rows]
    alone = torch.from_numpy(np.asarray(reader.read_slab(Slab(level="micro", layer=0, position=None))))
    return list_prefixes(tokens, outcomes.counts, alone.float()), outcomes


def read(rows: Tensor, listed: Listed, folds: tuple[Fold, ...], enough: float) -> dict[str, Any]:
    """Bits, half-width of their interval over folds, and processor seconds."""
    decode_reader.ENOUGH = enough
    options, started = DecodeOptions(), process_time()
    found = list(each_on_one_thread(lambda n: read_fold(rows, listed, folds[n], n, options), range(len(folds)), rows.device))
    seconds = process_time() - started
    combined = combine_folds([reading.nats for reading in found], np.full(len(folds), 1 / len(folds)))
    low, high = combined.interval_nats
    return {
        "bits": combined.nats / np.log(2),
        "half_width_bits": (high - low) / 2 / np.log(2),
        "processor_seconds": seconds,
        "trained_folds": sum(reading.is_trained for reading in found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="STORE/MODEL/CORPUS")
    parser.add_argument("--layers", default="1,5,12,20,29")
    parser.add_argument("--folds", type=int, default=4, help="of the four, how many are read")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a constant of decode_training")
    parser.add_argument("--out")
    options = parser.parse_args()
    for name, value in (pair.split("=") for pair in options.set):
        setattr(decode_training, name, type(getattr(decode_training, name))(value))
    store, model, corpus = options.dataset.rstrip("/").rsplit("/", 2)
    reader = open_reader(store, f"{model}/{corpus}")
    listed, outcomes = listed_of(reader)
    folds = split_prefixes(outcomes, DecodeOptions())[: options.folds]
    found: dict[str, Any] = {
        "dataset": f"{model}/{corpus}",
        "rows": len(outcomes.counts),
        "exact_bits": entropy_nats(outcomes.counts) / np.log(2),
        "folds": len(folds),
        "constants": {name: getattr(decode_training, name) for name in ("RANK", "BATCH_ROWS", "MOST_PASSES", "RATE")},
        "layers": {},
    }
    for layer in (int(part) for part in options.layers.split(",")):
        slab = reader.read_slab(Slab(level="macro", layer=layer, position=reader.layout.positions[-1]))
        rows = torch.from_numpy(np.asarray(slab)[outcomes.first_rows])
        found["layers"][layer] = {
            "closed": read(rows, listed, folds, CLOSED),
            "trained": read(rows, listed, folds, TRAINED),
        }
        print(layer, json.dumps(found["layers"][layer]), flush=True)
        if options.out:
            Path(options.out).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
