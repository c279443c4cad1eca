"""Each dimension to normal scores: a monotone map fitted on train rows, so that mutual information stays what it is.

Heavy tails, outliers (massive activations) and skewed dimensions break second moments and gradients alike. A strictly
increasing map of each dimension alone changes no mutual information, and normal scores are the dimensions that a
Gaussian critic describes best.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import pad

NUM_KNOTS = 129
"""Of each dimension's map. Varied by ``benchmarks/critic_constants.py``."""
LARGEST_SCORE = 3.0
"""Normal score of the outermost knots: 1 row in 740 lies beyond each. Varied by ``benchmarks/critic_constants.py``."""
VALUES_SORTED, VALUES_MAPPED = 2**20, 2**18
"""Values sorted, and mapped, at once: the one bounds memory, the other fits a core's cache. They change nothing."""


NUM_CELLS = 512
"""Of the even grid that says between which knots a value may lie."""


@dataclass(frozen=True, kw_only=True)
class Marginals:
    """Piecewise linear maps from values to normal scores, one per dimension::

        score            start + slope x (value - knot before)
         3 |        _/
           |   |        a value that many train rows share: two knots, all but in one place, and the middle of their scores
        -3 | _/          beyond the outermost knots, the logarithm of 1 + `beyond` x the distance is added

    Which knots a value lies between, an even grid of cells says all but exactly, and halving the rest.
    """

    lowest: Tensor
    """(dimension, 1) of the knots"""
    ends: Tensor
    """(dimension, 2) just below the lowest and just above the highest: what lies further out is mapped as they are"""
    knots: Tensor
    """(dimension, knot) rising values, float32: weighted quantiles of the train rows at evenly spaced normal scores, then
    infinite ones"""
    before: Tensor
    """(dimension, knot) where the line to each knot starts, and the one beyond the last"""
    starts: Tensor
    """(dimension, knot) its score there"""
    slopes: Tensor
    """(dimension, knot) its slope"""
    beyond: Tensor
    """(dimension, 1) normal scores in a unit of the values"""
    cells_per_unit: Tensor
    """(dimension, 1) cells in a unit of the values"""
    knots_before: Tensor
    """(dimension, cell) knots in lower cells; the highest knot has a cell of its own"""
    halvings: int
    """So many tell the knots of any one cell apart."""

    def at(self, here: slice) -> "Marginals":
        """Those of the dimensions ``here``."""
        parts = {field.name: getattr(self, field.name)[here] for field in fields(self) if field.name != "halvings"}
        return Marginals(**parts, halvings=self.halvings)


def fit_marginals(values: Tensor, probabilities: Tensor) -> Marginals:
    """Quantiles of train rows ``values`` (row, dimension), any float dtype, rows weighted by ``probabilities`` (row,)."""
    size = max(1, VALUES_SORTED // len(values))
    knots = torch.cat([_knots(part.float(), probabilities) for part in values.split(size, dim=1)])
    lowest, highest = knots[:, :1], knots[:, -1:]
    scores = torch.linspace(-LARGEST_SCORE, LARGEST_SCORE, NUM_KNOTS, device=knots.device).expand_as(knots)

    # Of equal knots the first and the last are kept, in front.
    differ = knots.diff(dim=1) > 0
    is_first, is_last = pad(differ, (1, 0), value=True), pad(differ, (0, 1), value=True)
    is_kept, order = (is_first | is_last).sort(dim=1, descending=True, stable=True)
    knots, scores, is_first, is_last = (each.gather(1, order) for each in (knots, scores, is_first, is_last))

    before, score_before = (torch.cat([each[:, :1], each[:, :-1]], 1) for each in (knots, scores))
    is_tie = is_last & ~is_first  # the line from the first of equal knots to the last
    slopes = (scores - score_before) / (knots - before).clamp_min(torch.finfo(knots.dtype).tiny)
    slopes = torch.where(is_tie | ~is_kept, 0.0, slopes)
    starts = torch.where(is_tie, (scores + score_before) / 2, score_before)
    starts = pad(starts.where(is_kept, LARGEST_SCORE), (0, 1), value=LARGEST_SCORE)
    spans = highest - lowest

    # Just below the value, so that the value itself, and nothing else, lies between the two.
    searched = torch.where(is_first & ~is_last, _next(knots, -torch.inf), knots)
    cells_per_unit = torch.where(spans > 0, NUM_CELLS / spans, 0.0).clamp_max(torch.finfo(knots.dtype).max)
    in_cells = torch.zeros(len(knots), NUM_CELLS + 1, dtype=torch.int64, device=knots.device)
    in_cells.scatter_add_(1, _cell_of(searched, lowest, cells_per_unit), is_kept.long())
    halvings = int(in_cells.max()).bit_length()
    return Marginals(
        lowest=lowest,
        ends=torch.cat([_next(lowest, -torch.inf), _next(highest, torch.inf)], 1),
        knots=pad(searched.where(is_kept, torch.inf), (0, 2**halvings), value=torch.inf),
        before=pad(before, (0, 1)),
        starts=torch.where(spans > 0, starts, 0.0),
        slopes=pad(slopes, (0, 1)),
        beyond=torch.where(spans > 0, 2 * LARGEST_SCORE / spans, 0.0).clamp_max(torch.finfo(knots.dtype).max),
        cells_per_unit=cells_per_unit,
        knots_before=in_cells.cumsum(1) - in_cells,
        halvings=halvings,
    )


def _next(values: Tensor, towards: float) -> Tensor:
    return values.nextafter(torch.full_like(values, towards))


def _cell_of(inside: Tensor, lowest: Tensor, cells_per_unit: Tensor) -> Tensor:
    """Cell (dimension, row) of values up to the highest knot; never lower for a larger value, rounding included."""
    return (inside - lowest).mul_(cells_per_unit).long()


def _knots(values: Tensor, probabilities: Tensor) -> Tensor:
    scores = torch.linspace(-LARGEST_SCORE, LARGEST_SCORE, NUM_KNOTS, device=values.device, dtype=values.dtype)
    ordered, order = values.T.contiguous().sort(dim=-1)
    weights = probabilities.to(values.dtype)[order]
    middles = weights.cumsum(-1) - weights / 2
    wanted = torch.special.ndtr(scores).expand(len(middles), NUM_KNOTS).contiguous()
    last = middles.shape[-1] - 1
    above = torch.searchsorted(middles.contiguous(), wanted).clamp(min(1, last), last)
    below = (above - 1).clamp_min(0)  # where train rows are a table of one row, the same
    left, right = middles.gather(-1, below), middles.gather(-1, above)
    share = ((wanted - left) / (right - left).clamp_min(1e-12)).clamp(0, 1)
    low, high = ordered.gather(-1, below), ordered.gather(-1, above)
    knots: Tensor = low + share * (high - low)
    return knots


def normal_scores(marginals: Marginals, values: Tensor) -> Tensor:
    """Map ``values`` (row, dimension) to normal scores of the same shape, float32; 0 in dimensions without variance.

    Repeated knots (a value that many rows share) map to the middle of their scores. Beyond the outermost knots
    the map goes on as a logarithm: still rising, but no outlier is far away.
    """
    scores = torch.empty(values.shape[::-1], dtype=torch.float32, device=values.device)
    size = max(1, VALUES_MAPPED // max(1, len(values)))
    for start in range(0, len(scores), size):
        here = slice(start, start + size)
        _normal_scores_(marginals.at(here), scores[here].copy_(values[:, here].T))
    return scores.T


def _normal_scores_(marginals: Marginals, columns: Tensor) -> None:
    """Those of ``columns`` (dimension, row), in their place."""
    inside = columns.clamp(marginals.ends[:, :1], marginals.ends[:, 1:])
    line = _num_below(marginals, inside)
    along = inside - marginals.before.gather(1, line)
    scores = torch.addcmul(marginals.starts.gather(1, line), marginals.slopes.gather(1, line), along)
    excess = columns.sub_(inside).mul_(marginals.beyond)
    torch.add(scores, excess.abs().log1p_().copysign_(excess), out=columns)


def _num_below(marginals: Marginals, inside: Tensor) -> Tensor:
    """How many knots are less than each value (dimension, row)."""
    found = marginals.knots_before.gather(1, _cell_of(inside, marginals.lowest, marginals.cells_per_unit))
    for halving in reversed(range(marginals.halvings)):
        size = 2**halving
        found.add_(marginals.knots[:, size - 1 :].gather(1, found) < inside, alpha=size)
    return found
