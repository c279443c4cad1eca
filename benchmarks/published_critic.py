"""`mine` beside the critic of arXiv 2405.12617, trained as published to its end: both on rows that neither was trained on.

    python benchmarks/published_critic.py STORE/MODEL/CORPUS --block 1 --rows 2000 --out benchmarks/results/published_critic.json

Rows are a seeded draw of the dataset's sequences, all distinct, at its last position. `mine` is tested on one fold after the
other, the published critic on the first fold's test rows after training on all of its others. Its held-out value is looked at on
the way too (Donsker-Varadhan over all pairs of test rows), and its best look counts, although the test rows chose it.
What has to hold: `mine` on that fold is not lower than the best look.
"""

import argparse
import json
from math import log
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ie_store.estimate.critics.folds import Fold, make_folds
from ie_store.estimate.estimators.mine_paper import PUBLISHED_STEPS, published_critic, run_published
from ie_store.estimate.mutual_information import mutual_information
from ie_store.options import Progress
from ie_store.specs import NATS_PER_BIT, Slab
from ie_store.store.open import open_reader

LOOKS = (100, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 5000, 7000, PUBLISHED_STEPS)
ROWS_AT_ONCE = 16


def drawn_states(dataset: str, block: int, rows: int) -> tuple[Tensor, Tensor]:
    """(row, hidden) what goes into a block and what comes out, of as many drawn sequences."""
    store, model, corpus = dataset.rsplit("/", 2)
    reader = open_reader(store, f"{model}/{corpus}")
    chosen = np.sort(np.random.default_rng(0).choice(reader.num_rows("macro"), rows, replace=False))
    if len(np.unique(reader.tokens[chosen], axis=0)) < rows:
        raise SystemExit("the drawn sequences are not distinct: their exact information is not ln(rows)")
    position = reader.layout.positions[-1]
    x, y = (reader.read_slab(Slab(level="macro", layer=layer, position=position))[chosen] for layer in (block, block + 1))
    return torch.from_numpy(x).float(), torch.from_numpy(y).float()


def held_out(critic: nn.Module, x: Tensor, y: Tensor) -> float:
    """Donsker-Varadhan of the rows, in nats: joint pairs (i, i) against all (i, j) with j another row."""
    num_rows = len(x)
    sums = torch.empty(num_rows, dtype=torch.float64)
    joint = torch.empty(num_rows, dtype=torch.float64)
    with torch.no_grad():
        for start in range(0, num_rows, ROWS_AT_ONCE):
            some = x[start : start + ROWS_AT_ONCE]
            pairs = torch.cat([some[:, None].expand(-1, num_rows, -1), y[None].expand(len(some), -1, -1)], dim=2)
            scores = critic(pairs)[..., 0].double()
            own = torch.arange(len(some)), torch.arange(start, start + len(some))
            joint[start : start + len(some)] = scores[own]
            scores[own] = -torch.inf
            sums[start : start + len(some)] = torch.logsumexp(scores, 1)
    return float(joint.mean() - torch.logsumexp(sums, 0) + log(num_rows * (num_rows - 1)))


def train_published(x: Tensor, y: Tensor, fold: Fold, seed: int) -> dict[str, Any]:
    """Held-out bits by step, and the value as it is published: the most on the rows that it was trained on."""
    train, test = torch.cat([fold.train.rows, fold.validation.rows]), fold.test.rows
    critic, generator = published_critic(x.shape[1], y.shape[1], seed), torch.Generator().manual_seed(seed)
    by_step: dict[int, float] = {}

    def look(progress: Progress) -> None:
        if progress.done in LOOKS:
            by_step[progress.done] = held_out(critic, x[test], y[test]) / NATS_PER_BIT
            print(f"step {progress.done:,}: held-out {by_step[progress.done]:.3f} bits", flush=True)

    started = perf_counter()
    run = run_published(critic, x[train], y[train], lambda _: torch.randperm(len(train), generator=generator), on_progress=look)
    return {
        "held_out_bits": by_step,
        "best_held_out_bits": max(by_step.values()),
        "last_held_out_bits": by_step[PUBLISHED_STEPS],
        "published_bits": run.maximum_nats / NATS_PER_BIT,
        "steps": PUBLISHED_STEPS,
        "train_rows": len(train),
        "test_rows": len(test),
        "seconds": round(perf_counter() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--block", type=int, default=1)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    x, y = drawn_states(options.dataset, options.block, options.rows)
    fold = make_folds(np.arange(options.rows), None, 2, options.seed)[0]
    started = perf_counter()
    ours = mutual_information(x, y, estimator="mine", seed=options.seed)
    found = {
        "rows": options.rows,
        "block": options.block,
        "exact_bits": log(options.rows) / NATS_PER_BIT,
        "mine": {
            "fold_bits": [nats / NATS_PER_BIT for nats in ours.diagnostics["fold_nats"]],
            "bits": ours.nats / NATS_PER_BIT,
            "interval_bits": [nats / NATS_PER_BIT for nats in ours.interval_nats],
            "outcome": str(ours.outcome),
            "seconds": round(perf_counter() - started, 1),
        },
    }
    print(json.dumps(found, indent=1), flush=True)
    found["published"] = train_published(x, y, fold, options.seed)
    print(json.dumps(found["published"], indent=1))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
