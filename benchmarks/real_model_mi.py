"""Trained estimators on a real model's states, macro at the last position: values, errors, outcomes and time.

    python benchmarks/real_model_mi.py --store /tmp/s --model FOLDER --gguf-file NAME --text FILE --out table.json

Extracts 20,000 rows of text and of the country corpus (once; a store that is there is read), estimates a few blocks,
and prints what has to hold: values of converged and saturated estimates between 0 and the ceiling, the exact E(0)
inside its interval, a standard error of at most 5%, and `mine` at no less than 0.9 of InfoNCE.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from ie_store.estimate.run import estimate
from ie_store.extract.run import extract
from ie_store.options import EstimateSpec, EstimatorSpec, ExtractSpec
from ie_store.specs import MIEstimate, Outcome, Problem
from ie_store.store.results import read_results

NUM_ROWS = 20_000
BLOCKS = "0,5,10,15,20,25,29"


def measure(store: str, name: str, blocks: str, estimators: list[str]) -> list[dict[str, Any]]:
    specs = tuple(EstimatorSpec(name=estimator) for estimator in estimators)
    emergences = estimate(EstimateSpec(store=store, name=name, estimators=specs, blocks=blocks))
    exact = {(e.block, e.position): e.ie_nats for e in emergences if e.estimator == "exact"}
    rows = []
    for spec in specs:
        found = read_results(store, name, spec)
        for emergence in (e for e in emergences if e.estimator == spec.name):
            macro = found[Problem(level="macro", block=emergence.block, position=emergence.position)]
            low, high = emergence.interval_nats
            rows.append(
                figures(macro)
                | {"corpus": name, "block": emergence.block, "ie_nats": emergence.ie_nats}
                | {"exact_in_interval": low <= exact[emergence.block, emergence.position] <= high}
            )
    return rows


def figures(macro: MIEstimate) -> dict[str, Any]:
    told = ("ln_n_test", "num_test", "folds", "seeds", "wall_seconds")
    within = macro.outcome not in (Outcome.CONVERGED, Outcome.SATURATED) or 0 <= macro.nats <= (macro.ceiling_nats or 0) + 1e-5
    return {
        "estimator": macro.estimator,
        "macro_nats": macro.nats,
        "standard_error_nats": macro.standard_error_nats,
        "ceiling_nats": macro.ceiling_nats,
        "outcome": str(macro.outcome),
        "within_ceiling": within,
        **{name: macro.diagnostics.get(name) for name in told},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--gguf-file")
    parser.add_argument("--text", required=True, help="a text file of at least 20,000 sentences")
    parser.add_argument("--blocks", default=BLOCKS)
    parser.add_argument("--rows", type=int, default=NUM_ROWS)
    parser.add_argument("--estimators", nargs="+", default=["mine", "infonce", "cca"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for short, recipe in (("text", f"text:{options.text}?length=8"), ("country", "icl:country")):
        name = f"model/{short}"
        extract(
            ExtractSpec(
                store=options.store, model=options.model, gguf_file=options.gguf_file, corpus=recipe, name=name,
                positions="last", num_sequences=options.rows,
            )
        )  # fmt: skip
        started = time.perf_counter()
        rows += measure(options.store, name, options.blocks, options.estimators)
        print(f"{name}: {time.perf_counter() - started:.0f} s")
    print("corpus        block estimator  macro nats     +-  ceiling  ln n_test  outcome            s  within  exact E in")
    for row in rows:
        print(
            f"{row['corpus']:14s} {row['block']:4d} {row['estimator']:9s} {row['macro_nats']:10.3f} "
            f"{row['standard_error_nats']:6.3f} {row['ceiling_nats']:8.3f} {row['ln_n_test'] or 0:10.2f}  {row['outcome']:16s} "
            f"{row['wall_seconds'] or 0:5.0f}  {'yes' if row['within_ceiling'] else 'NO':6s}  "
            f"{'yes' if row['exact_in_interval'] else 'NO'}"
        )
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
