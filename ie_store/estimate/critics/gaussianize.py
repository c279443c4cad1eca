"""Each dimension to normal scores: a monotone map fitted on train rows, so that mutual information stays what it is.

Heavy tails, outliers (massive activations) and skewed dimensions break second moments and gradients alike. A strictly
increasing map of each dimension alone changes no mutual information, and normal scores are the dimensions that a
Gaussian critic describes best.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

NUM_KNOTS = 129
"""Of each dimension's map. Varied by ``benchmarks/critic_constants.py``."""
LARGEST_SCORE = 3.0
"""Normal score of the outermost knots: 1 row in 740 lies beyond each. Varied by ``benchmarks/critic_constants.py``."""


@dataclass(frozen=True, kw_only=True)
class Marginals:
    """Piecewise linear maps from values to normal scores, one per dimension."""

    knots: Tensor
    """(problem, dimension, knot) rising values: weighted quantiles of the train rows."""
    scores: Tensor
    """(knot,) normal scores of the knots."""


def fit_marginals(values: Tensor, probabilities: Tensor) -> Marginals:
    """Quantiles of train rows ``values`` (problem, row, dimension), rows weighted by ``probabilities`` (row,)."""
    scores = torch.linspace(-LARGEST_SCORE, LARGEST_SCORE, NUM_KNOTS, device=values.device, dtype=values.dtype)
    ordered, order = values.transpose(1, 2).contiguous().sort(dim=-1)
    weights = probabilities.to(values.dtype)[order]
    middles = weights.cumsum(-1) - weights / 2
    wanted = torch.special.ndtr(scores).expand(*middles.shape[:2], NUM_KNOTS).contiguous()
    last = middles.shape[-1] - 1
    above = torch.searchsorted(middles.contiguous(), wanted).clamp(min(1, last), last)
    below = (above - 1).clamp_min(0)  # where train rows are a table of one row, the same
    left, right = middles.gather(-1, below), middles.gather(-1, above)
    share = ((wanted - left) / (right - left).clamp_min(1e-12)).clamp(0, 1)
    low, high = ordered.gather(-1, below), ordered.gather(-1, above)
    return Marginals(knots=low + share * (high - low), scores=scores)


def normal_scores(marginals: Marginals, values: Tensor) -> Tensor:
    """Map ``values`` (problem, row, dimension) to normal scores of the same shape; 0 in dimensions without variance.

    Repeated knots (a value that many rows share) map to the middle of their scores. Beyond the outermost knots
    the map goes on as a logarithm: still rising, but no outlier is far away.
    """
    knots, scores = marginals.knots, marginals.scores
    columns = values.transpose(1, 2).contiguous()
    middle = _interpolate(knots, scores, columns, right=False)
    if bool((knots[..., 1:] == knots[..., :-1]).any()):
        middle = (middle + _interpolate(knots, scores, columns, right=True)) / 2
    width = (knots[..., -1:] - knots[..., :1]) / (2 * LARGEST_SCORE)
    safe_width = torch.where(width > 0, width, 1)
    beyond = torch.log1p((columns - knots[..., -1:]).clamp_min(0) / safe_width) - torch.log1p(
        (knots[..., :1] - columns).clamp_min(0) / safe_width
    )
    return torch.where(width > 0, middle + beyond, 0.0).transpose(1, 2).contiguous()


def _interpolate(knots: Tensor, scores: Tensor, columns: Tensor, *, right: bool) -> Tensor:
    index = torch.searchsorted(knots, columns, right=right).clamp(1, knots.shape[-1] - 1)
    low, high = knots.gather(-1, index - 1), knots.gather(-1, index)
    share = ((columns - low) / (high - low).clamp_min(torch.finfo(columns.dtype).tiny)).clamp(0, 1)
    return scores[index - 1] + share * (scores[index] - scores[index - 1])
