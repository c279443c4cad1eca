"""Second moments of normal scores, summed in float64, a few rows at a time: covariances once per slab, whoever shares it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ie_store.estimate.critics.rows import Rows
from ie_store.estimate.critics.scores import SplitPart

VALUES_AT_ONCE = 2**22
"""Values of all slabs at once, 32 MiB in float64: bounds memory."""
MOST_ROWS_IN_FLOAT64 = 16384
"""Of more rows the products are float32, their sums float64 all the same: so many rows leave no direction without variance."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Weighted moments of a side's rows, float64."""

    means: tuple[Tensor, ...]
    """(dimension,) for each slab"""
    covariances: tuple[Tensor, ...]
    """(dimension, dimension) for each slab"""
    cross: Tensor
    """(problem, x dimension, y dimension) covariances of x with y"""


def moments(rows: Rows, side: SplitPart) -> Moments:
    """The moments of a side, in one pass over its rows."""
    pairs = rows.pairs
    sizes = [slab.width for slab in pairs.slabs]
    device = pairs.device
    sums = [torch.zeros(size, dtype=torch.float64, device=device) for size in sizes]
    squares = [torch.zeros(size, size, dtype=torch.float64, device=device) for size in sizes]
    cross = torch.zeros(pairs.num_problems, *pairs.sizes, dtype=torch.float64, device=device)
    dtype = torch.float64 if len(side.rows) <= MOST_ROWS_IN_FLOAT64 else torch.float32
    at_once = max(1, VALUES_AT_ONCE // sum(sizes))
    for index, weights in zip(side.rows.split(at_once), side.probabilities.split(at_once), strict=True):
        values = [scores.to(dtype) for scores in rows.of_slabs(index)]
        weighted = [scores.T * weights.to(dtype) for scores in values]
        for slab, scores in enumerate(values):
            sums[slab] += weighted[slab].sum(1)
            squares[slab] += weighted[slab] @ scores
        for problem, (x, y) in enumerate(zip(pairs.x, pairs.y, strict=True)):
            cross[problem] += weighted[x] @ values[y]
    for slab, mean in enumerate(sums):
        squares[slab].addr_(mean, mean, alpha=-1)
    for problem, (x, y) in enumerate(zip(pairs.x, pairs.y, strict=True)):
        cross[problem].addr_(sums[x], sums[y], alpha=-1)
    return Moments(means=tuple(sums), covariances=tuple(squares), cross=cross)
