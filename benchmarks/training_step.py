"""A training step of `mine` against bare matmuls of as many floating-point operations, in one run.

    python benchmarks/training_step.py [--threads 2] [--rounds 3] [--out benchmarks/results/training_step.json]

Operations of a step are counted by PyTorch's own counter. Steps are timed one by one in a training of 45, of which the median
is taken: no look at validation rows is among them. Bare matmuls are square, 1,024 by 1,024, float32, on as many threads. Stacks
are what a run makes: one block of the country corpus (303,600 rows, mapped anew at every step), two of 20,000 rows (kept
mapped), nine of a text's lone tokens (drawn by their shares). States are seeded, float16, neighbouring layers correlated.
"""

import argparse
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from ie_store.estimate.critics.rows import PairedSlabs
from ie_store.estimate.estimators.cross_fit import cross_fit
from ie_store.estimate.stored_rows import HeldRows
from ie_store.estimators import estimator_spec
from ie_store.options import OnProgress, Progress

SIZE, CORRELATED, CORRELATION = 576, 64, 0.2
STEPS, MATMUL_SIZE, MATMULS = 45, 1024, 20
TOKENS, SEQUENCES = 4000, 20_000


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Problems that are trained together."""

    name: str
    rows: int
    blocks: int
    is_table: bool = False

    def pairs(self) -> PairedSlabs:
        """Seeded states."""
        generator = torch.Generator().manual_seed(0)
        slabs = [torch.randn(self.rows, SIZE, generator=generator, dtype=torch.float32).half()]
        for _ in range(self.blocks):
            new = torch.randn(self.rows, SIZE, generator=generator, dtype=torch.float32)
            new[:, :CORRELATED].mul_((1 - CORRELATION**2) ** 0.5).add_(slabs[-1][:, :CORRELATED].float(), alpha=CORRELATION)
            slabs.append(new.half())
        numbers = tuple(range(self.blocks))
        return PairedSlabs(slabs=tuple(map(HeldRows, slabs)), x=numbers, y=tuple(number + 1 for number in numbers))

    def sequences(self) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """Groups, and the row of each sequence where the rows are a table: words of a text fall off as Zipf has them."""
        if not self.is_table:
            return np.arange(self.rows), None
        shares = 1 / np.arange(1, self.rows + 1)
        rows = np.random.default_rng(0).choice(self.rows, SEQUENCES, p=shares / shares.sum())
        rows[: self.rows] = np.arange(self.rows)
        return np.arange(SEQUENCES), rows


STACKS = (
    Stack(name="one block, 303,600 rows", rows=303_600, blocks=1),
    Stack(name="two blocks, 20,000 rows", rows=20_000, blocks=2),
    Stack(name="nine blocks, 4,000 lone tokens", rows=TOKENS, blocks=9, is_table=True),
)


def train(stack: Stack, pairs: PairedSlabs, steps: int, on_progress: OnProgress) -> None:
    """One fold, with so many steps."""
    spec, (groups, row_of_sequence) = estimator_spec("mine", steps=steps, folds=1), stack.sequences()
    cross_fit(pairs, spec, groups=groups, row_of_sequence=row_of_sequence, on_progress=on_progress)


def seconds_a_step(stack: Stack, pairs: PairedSlabs) -> float:
    """The median step's."""
    told: list[float] = []

    def on_progress(progress: Progress) -> None:
        if progress.stage == "mine":
            told.append(time.perf_counter())

    train(stack, pairs, STEPS, on_progress)
    return median(np.diff(told).tolist())


def operations(stack: Stack) -> float:
    """Of one step, whatever the rows of a draw: the second of three."""
    few = stack if stack.is_table else Stack(name="", rows=3000, blocks=stack.blocks)
    counter = FlopCounterMode(display=False)

    def on_progress(progress: Progress) -> None:
        if progress.stage == "mine" and progress.done == 1:
            counter.__enter__()
        if progress.stage == "mine" and progress.done == 2:
            counter.__exit__(None, None, None)

    train(few, few.pairs(), 3, on_progress)
    return float(counter.get_total_flops())


def matmul_rate() -> float:
    """Operations a second of bare matmuls."""
    a, b = (torch.randn(MATMUL_SIZE, MATMUL_SIZE) for _ in range(2))
    out = a @ b
    seconds = []
    for _ in range(MATMULS):
        started = time.perf_counter()
        torch.mm(a, b, out=out)
        seconds.append(time.perf_counter() - started)
    return 2 * MATMUL_SIZE**3 / median(seconds)


def measure(stack: Stack, rounds: int) -> dict[str, Any]:
    """Rates of one stack, with those of matmuls before and after each training."""
    pairs, flops = stack.pairs(), operations(stack)
    shares, steps, rates = [], [], []
    for _ in range(rounds):
        before = matmul_rate()
        steps.append(seconds_a_step(stack, pairs))
        rates.append((before + matmul_rate()) / 2)
        shares.append(flops / steps[-1] / rates[-1])
    return {
        "stack": stack.name,
        "gigaflops_a_step": flops / 1e9,
        "milliseconds_a_step": 1e3 * median(steps),
        "matmul_gigaflops_a_second": median(rates) / 1e9,
        "share_of_matmul": median(shares),
        "shares": shares,
    }


def main() -> None:
    """Measure every stack, print a table, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="stacks whose names hold this")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{'':34}{'GFLOP':>8}{'ms':>8}{'GFLOP/s':>10}{'matmul':>10}{'share':>8}")
    found = []
    for stack in (one for one in STACKS if arguments.only in one.name):
        found.append(measure(stack, arguments.rounds))
        name, flops, milliseconds, rate, share, _ = found[-1].values()
        print(f"{name:34}{flops:8.2f}{milliseconds:8.1f}{flops / milliseconds * 1e3:10.1f}{rate:10.1f}{share:8.2f}", flush=True)
    if arguments.out:
        result = {"machine": platform.platform(), "torch": torch.__version__, "threads": arguments.threads, "stacks": found}
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
