"""Processor time of a stack of micro problems: all blocks of a model at one position, tables of a few distinct rows.

    python benchmarks/micro_problems.py --blocks 30 --out benchmarks/results/micro_problems.json

States are seeded, float16, each layer a nonlinear step from the one before; sequences draw their rows uniformly.
"""

import argparse
import json
from math import log
from pathlib import Path
from time import process_time

import numpy as np
import torch

from ie_store.estimate.critics.rows import PairedSlabs
from ie_store.estimate.estimators.cross_fit import cross_fit
from ie_store.estimate.stored_rows import HeldRows
from ie_store.estimators import estimator_spec


def main() -> None:
    """Measure one stack, print a line, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=25)
    parser.add_argument("--size", type=int, default=576)
    parser.add_argument("--sequences", type=int, default=20_000)
    parser.add_argument("--estimator", default="mine")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator, size = torch.Generator().manual_seed(0), arguments.size
    slabs = [torch.randn(arguments.tokens, size, generator=generator) * torch.logspace(0, -2, size)]
    for _ in range(arguments.blocks):
        turn = torch.randn(size, size, generator=generator) / size**0.5
        slabs.append(torch.tanh(slabs[-1] @ turn) + slabs[-1])
    numbers = tuple(range(arguments.blocks))
    pairs = PairedSlabs(
        slabs=tuple(HeldRows(slab.half()) for slab in slabs), x=numbers, y=tuple(number + 1 for number in numbers)
    )
    rows = np.random.default_rng(0).integers(0, arguments.tokens, arguments.sequences)
    began = process_time()
    found = cross_fit(pairs, estimator_spec(arguments.estimator), groups=np.arange(len(rows)), row_of_sequence=rows)
    result = {
        "estimator": arguments.estimator,
        "blocks": arguments.blocks,
        "tokens": arguments.tokens,
        "size": size,
        "sequences": arguments.sequences,
        "processor_seconds": round(process_time() - began, 2),
        "most_steps": max(one.diagnostics["steps"] for one in found),
        "least_nats": min(one.nats for one in found),
        "ln_tokens": log(arguments.tokens),
        "torch": torch.__version__,
    }
    print(result)
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
