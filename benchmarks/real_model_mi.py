"""Trained estimators on a real model's states, macro at the last position: values, errors, outcomes and time.

    python benchmarks/real_model_mi.py --store /tmp/s --model FOLDER --gguf-file NAME --text FILE --out table.json
    python benchmarks/real_model_mi.py --store /tmp/s --stored MODEL/CORPUS ... --estimators mine --out table.json

Extracts 20,000 rows of text and of the country corpus (once; a store that is there is read), or reads ``--stored`` datasets.
Estimates the macro values of a few blocks, and E(0) of what it extracted, and prints what has to hold: values of converged and
saturated estimates between 0 and the ceiling, the exact E(0) inside its interval, a standard error of at most 5% or a flag, at
most 20 s a training, and `mine` at no less than 0.9 of InfoNCE.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ie_store.estimate.batch_states import BatchStates, examine, measure_batch
from ie_store.estimate.device import choose_device
from ie_store.estimate.plan import WorkItem
from ie_store.estimate.problems import ProblemBatch
from ie_store.estimate.read import read_prefixes
from ie_store.estimate.run import estimate
from ie_store.estimate.shelf import Shelf
from ie_store.estimate.stored_rows import Room
from ie_store.estimators import estimator_spec
from ie_store.extract.run import extract
from ie_store.options import EstimateSpec, ExtractSpec, ignore_progress
from ie_store.specs import MIEstimate, Outcome
from ie_store.store.open import open_reader


def measure(store: str, name: str, blocks: tuple[int, ...], estimators: list[str]) -> Iterator[dict[str, Any]]:
    """Macro estimates at the last position, and what the emergence of block 0 says of the exact one."""
    reader = open_reader(store, name)
    corpus = read_prefixes(reader)
    last = reader.layout.num_positions - 1
    batches = [ProblemBatch(level="macro", position=last, blocks=(block,)) for block in blocks]
    items = [WorkItem(estimator=estimator_spec(estimator), batch=batch) for batch in batches for estimator in estimators]
    room = Room(choose_device("auto"))
    for item, slabs in Shelf(reader, room).stream(items):
        states = BatchStates(batch=item.batch, slabs=slabs, corpus=corpus, room=room)
        estimates, _ = measure_batch(item.estimator, states, ignore_progress)
        for problem, macro in examine(estimates, states).items():
            yield {"corpus": name, "block": problem.block} | figures(macro)


def first_emergence(store: str, name: str) -> dict[str, Any]:
    """E(0) as `mine` estimates it, beside the exact one."""
    exact, mine = estimate(EstimateSpec(store=store, name=name, estimators=(estimator_spec("mine"),), blocks="0"))
    low, high = mine.interval_nats
    return {
        "corpus": name,
        "exact_nats": exact.ie_nats,
        "mine_nats": mine.ie_nats,
        "interval_nats": mine.interval_nats,
        "outcome": str(mine.outcome),
        "inside": low <= exact.ie_nats <= high,
    }


def figures(macro: MIEstimate) -> dict[str, Any]:
    told = ("ln_n_test", "num_test", "folds", "seeds", "steps")
    trainings = macro.diagnostics.get("folds", 1) * macro.diagnostics.get("seeds", 1)
    claims = macro.outcome in (Outcome.CONVERGED, Outcome.SATURATED)
    return {
        "estimator": macro.estimator,
        "macro_nats": macro.nats,
        "standard_error_nats": macro.standard_error_nats,
        "ceiling_nats": macro.ceiling_nats,
        "outcome": str(macro.outcome),
        "flags": macro.flags,
        "within_ceiling": not claims or 0 <= macro.nats <= (macro.ceiling_nats or 0) + 1e-5,
        "seconds_a_training": macro.diagnostics.get("wall_seconds", 0.0) / trainings,
        **{name: macro.diagnostics.get(name) for name in told},
    }


def show(rows: list[dict[str, Any]]) -> None:
    print(
        "corpus          block estimator macro nats     +-   %  ceiling n_test ln n_test folds x seeds "
        "outcome              within s/training"
    )
    for row in rows:
        share = 100 * row["standard_error_nats"] / max(row["macro_nats"], 1e-9)
        print(
            f"{row['corpus']:15s} {row['block']:5d} {row['estimator']:9s} {row['macro_nats']:10.3f} "
            f"{row['standard_error_nats']:6.3f} {min(share, 99):3.0f} {row['ceiling_nats']:8.3f} {row['num_test'] or 0:6d} "
            f"{row['ln_n_test'] or 0:9.2f} {row['folds'] or 0:5d} x {row['seeds'] or 0} {row['outcome']:20s} "
            f"{'yes' if row['within_ceiling'] else 'NO':6s} {row['seconds_a_training']:10.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True)
    parser.add_argument("--stored", nargs="*", default=[], help="names of datasets to measure as they are")
    parser.add_argument("--model")
    parser.add_argument("--gguf-file")
    parser.add_argument("--text", help="a text file of at least 20,000 sentences")
    parser.add_argument("--blocks", type=int, nargs="+", default=[0, 5, 10, 15, 20, 25, 29])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--estimators", nargs="+", default=["mine", "infonce", "cca"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not options.stored and not (options.model and options.text):
        parser.error("give --model and --text, or --stored")
    rows: list[dict[str, Any]] = []
    first = []
    for name in options.stored or extracted(options):
        for row in measure(options.store, name, tuple(options.blocks), options.estimators):
            rows.append(row)
            show(rows[-1:])
            keep(options.out, rows, first)
        if not options.stored:
            first.append(first_emergence(options.store, name))
            print(first[-1], flush=True)
    show(rows)
    keep(options.out, rows, first)


def extracted(options: argparse.Namespace) -> Iterator[str]:
    """The names of the two datasets, each extracted when it is asked for."""
    layers = ",".join(map(str, sorted({layer for block in options.blocks for layer in (block, block + 1)})))
    for short, recipe in (("text", f"text:{options.text}?length=8"), ("country", "icl:country")):
        name = f"model/{short}"
        extract(
            ExtractSpec(
                store=options.store, model=options.model, gguf_file=options.gguf_file, corpus=recipe, name=name,
                layers=layers, positions="last", num_sequences=options.rows,
            )
        )  # fmt: skip
        yield name


def keep(out: Path | None, rows: list[dict[str, Any]], first: list[dict[str, Any]]) -> None:
    if out:
        out.write_text(json.dumps({"threads": torch.get_num_threads(), "macro": rows, "first": first}, indent=1) + "\n")


if __name__ == "__main__":
    main()
