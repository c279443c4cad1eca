"""Mini-batches of a side's rows, in a seeded order."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ie_store.estimate.critics.scores import SplitPart


def batches(side: SplitPart, batch_size: int, generator: torch.Generator) -> Iterator[SplitPart]:
    """Endless mini-batches of ``side``.

    A table that fits a batch is taken whole, with its probabilities. A larger one is drawn from by them, with repetition; rows
    of a draw come in random order, each once per pass.
    """
    if side.is_weighted and len(side.rows) <= batch_size:
        while True:
            yield side
    size = min(batch_size, len(side.rows))
    while True:
        for index in _drawn(side, size, generator) if side.is_weighted else _shuffled(len(side.rows), size, generator):
            yield side.part(index) if not side.is_weighted else _distinct(side, index)


def _distinct(side: SplitPart, index: Tensor) -> SplitPart:
    """Rows drawn from a table: each once, with its share. Of a text, half of what is drawn has been drawn before."""
    drawn, counts = index.to(side.rows.device).unique(return_counts=True)
    return SplitPart(
        rows=side.rows[drawn],
        probabilities=counts.double() / len(index),
        num_sequences=len(index),
        is_weighted=False,
        num_draws=len(index),
    )


def _shuffled(num_rows: int, size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    order = torch.randperm(num_rows, generator=generator)
    return torch.split(order[: num_rows // size * size], size)


def _drawn(side: SplitPart, size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    return (torch.multinomial(side.probabilities.cpu(), size, replacement=True, generator=generator),)
