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
class SlabMoments:
    """Weighted moments of a slab on a side's rows, float64."""

    mean: Tensor
    """(dimension,)"""
    covariance: Tensor
    """(dimension, dimension)"""


@dataclass(frozen=True, kw_only=True)
class PairMoments:
    """Those of both slabs of a problem, and between them."""

    x: SlabMoments
    y: SlabMoments
    cross: Tensor
    """(x dimension, y dimension) covariances of x with y"""


def pair_moments(rows: Rows, side: SplitPart, problem: int, known: dict[int, SlabMoments]) -> PairMoments:
    """The moments of one problem on a side, in one pass over its rows; of slabs that are ``known``, by number, they are taken."""
    pairs = rows.pairs
    x, y = pairs.x[problem], pairs.y[problem]
    widths = {slab: rows.width(slab) for slab in (x, y)}
    sums = {slab: torch.zeros(width, dtype=torch.float64, device=pairs.device) for slab, width in widths.items()}
    squares = {
        slab: torch.zeros(width, width, dtype=torch.float64, device=pairs.device)
        for slab, width in widths.items()
        if slab not in known
    }
    cross = torch.zeros(widths[x], widths[y], dtype=torch.float64, device=pairs.device)
    dtype = torch.float64 if len(side.rows) <= MOST_ROWS_IN_FLOAT64 else torch.float32
    at_once = max(1, VALUES_AT_ONCE // sum(slab.width for slab in pairs.slabs))
    for index, weights in zip(side.rows.split(at_once), side.probabilities.split(at_once), strict=True):
        values = {slab: rows.of_slab(slab, index).to(dtype) for slab in widths}
        weighted = {slab: scores.T * weights.to(dtype) for slab, scores in values.items()}
        for slab, scores in weighted.items():
            sums[slab] += scores.sum(1)
        for slab, total in squares.items():
            total += weighted[slab] @ values[slab]
        cross += weighted[x] @ values[y]
        del values, weighted, scores  # before the next rows are there
    cross.addr_(sums[x], sums[y], alpha=-1)
    found = dict(known)
    for slab, total in squares.items():
        found[slab] = SlabMoments(mean=sums[slab], covariance=total.addr_(sums[slab], sums[slab], alpha=-1))
    return PairMoments(x=found[x], y=found[y], cross=cross)
