"""Each dimension to normal scores: a monotone map fitted on train rows, so that mutual information stays what it is.

Heavy tails, outliers (massive activations) and skewed dimensions break second moments and gradients alike. A strictly
increasing map of each dimension alone changes no mutual information, and normal scores are the dimensions that a
Gaussian critic describes best.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

NUM_KNOTS = 129
"""Of each dimension's map. Varied by ``benchmarks/critic_constants.py``."""
LARGEST_SCORE = 3.0
"""Normal score of the outermost knots: 1 row in 740 lies beyond each. Varied by ``benchmarks/critic_constants.py``."""
VALUES_SORTED, VALUES_MAPPED = 2**20, 2**17
"""Values sorted, and mapped, at once: the one bounds memory, the other fits a core's cache. They change nothing."""


NUM_CELLS = 512
"""Of the even grid that says between which knots a value may lie."""
MOST_KNOTS_IN_A_CELL = 8
"""Beyond it a search by halves is as fast as looking at the knots of a cell one by one."""


@dataclass(frozen=True, kw_only=True)
class Cells:
    """An even grid over each dimension's knots. It finds the same place as a search by halves does, in a quarter of the time."""

    per_unit: Tensor
    """(dimension, 1) cells in a unit of the values"""
    knots_before: Tensor
    """(dimension, cell) knots in lower cells"""
    most_knots: int
    """Most knots in one cell."""

    def at(self, here: slice) -> "Cells":
        """Those of the dimensions ``here``."""
        return replace(self, per_unit=self.per_unit[here], knots_before=self.knots_before[here])


@dataclass(frozen=True, kw_only=True)
class Marginals:
    """Piecewise linear maps from values to normal scores, one per dimension."""

    knots: Tensor
    """(dimension, knot) rising values, float32: weighted quantiles of the train rows at evenly spaced normal scores."""
    have_ties: bool
    """Some knots of a dimension are equal."""
    cells: Cells | None
    """Where knots lie, unless too many share a cell."""

    def at(self, here: slice) -> "Marginals":
        """Those of the dimensions ``here``."""
        return replace(self, knots=self.knots[here], cells=None if self.cells is None else self.cells.at(here))


def fit_marginals(values: Tensor, probabilities: Tensor) -> Marginals:
    """Quantiles of train rows ``values`` (row, dimension), any float dtype, rows weighted by ``probabilities`` (row,)."""
    size = max(1, VALUES_SORTED // len(values))
    knots = torch.cat([_knots(part.float(), probabilities) for part in values.split(size, dim=1)])
    return Marginals(knots=knots, have_ties=bool((knots[:, 1:] == knots[:, :-1]).any()), cells=_cells(knots))


def _cells(knots: Tensor) -> Cells | None:
    span = knots[:, -1:] - knots[:, :1]
    per_unit = torch.where(span > 0, NUM_CELLS / span, 0.0).clamp_max(torch.finfo(knots.dtype).max)
    in_cells = torch.zeros(len(knots), NUM_CELLS, dtype=torch.int64, device=knots.device)
    in_cells.scatter_add_(1, _cell_of(knots, knots, per_unit), torch.ones_like(knots, dtype=torch.int64))
    most = int(in_cells.max())
    return (
        Cells(per_unit=per_unit, knots_before=in_cells.cumsum(1) - in_cells, most_knots=most)
        if most <= MOST_KNOTS_IN_A_CELL
        else None
    )


def _cell_of(values: Tensor, knots: Tensor, per_unit: Tensor) -> Tensor:
    """Cell (dimension, row) of each value (dimension, row); never lower for a larger value, rounding included."""
    cells: Tensor = (values - knots[:, :1]).mul_(per_unit).clamp_(0, NUM_CELLS - 1)
    return cells.long()


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
    scores = torch.empty(values.shape, dtype=torch.float32, device=values.device)
    size = max(1, VALUES_MAPPED // max(1, len(values)))
    for start in range(0, values.shape[1], size):
        here = slice(start, start + size)
        scores[:, here] = _normal_scores(marginals.at(here), values[:, here].T.float().contiguous()).T
    return scores


def _normal_scores(marginals: Marginals, columns: Tensor) -> Tensor:
    """Those of ``columns`` (dimension, row)."""
    knots = marginals.knots
    scores = _interpolate(marginals, columns, right=False)
    if marginals.have_ties:
        scores = scores.add_(_interpolate(marginals, columns, right=True)).div_(2)
    first, last = knots[:, :1], knots[:, -1:]
    width = (last - first) / (2 * LARGEST_SCORE)
    excess = (columns - torch.minimum(torch.maximum(columns, first), last)).div_(torch.where(width > 0, width, 1))
    scores = scores.add_(excess.abs().log1p_().copysign_(excess))
    return torch.where(width > 0, scores, 0.0)


def _interpolate(marginals: Marginals, columns: Tensor, *, right: bool) -> Tensor:
    knots = marginals.knots
    above = _num_below(marginals, columns, right=right).clamp_(1, knots.shape[1] - 1)
    high = knots.gather(1, above)
    below = above.sub_(1)
    low = knots.gather(1, below)
    share = (columns - low).div_(high.sub_(low).clamp_min_(torch.finfo(columns.dtype).tiny)).clamp_(0, 1)
    return share.add_(below).mul_(2 * LARGEST_SCORE / (NUM_KNOTS - 1)).sub_(LARGEST_SCORE)


def _num_below(marginals: Marginals, columns: Tensor, *, right: bool) -> Tensor:
    """How many knots are less than each value (dimension, row), or with ``right`` no more than it."""
    knots, cells = marginals.knots, marginals.cells
    if cells is None:
        return torch.searchsorted(knots, columns, right=right)
    found = cells.knots_before.gather(1, _cell_of(columns, knots, cells.per_unit))
    ended = torch.nn.functional.pad(knots, (0, 1), value=torch.inf)
    for _ in range(cells.most_knots):
        knot = ended.gather(1, found)
        found += (knot <= columns) if right else (knot < columns)
    return found
