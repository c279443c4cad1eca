"""The share of p in the reader of `decode`: what it loses at most, and what makes one that knows nothing worth exactly 0."""

from math import log, sqrt

import torch
from torch import Tensor

SHARES = (1.0, 0.5, 0.2, 0.1, 0.03, 0.01, 1e-3, 1e-4)
"""Shares of p in q that validation rows choose from; 1 is the reader that knows nothing."""
LEAST_GAIN_ERRORS = 2.0
"""Standard errors by which validation rows must prefer a reader to the one that knows nothing."""
FEWEST_TO_CHOOSE = 10
"""Validation rows below which a standard error means nothing."""


def mix(ratios: Tensor, share: float) -> Tensor:
    """ln((1 - share) q/p + share) from ln q/p, in float64."""
    ratios = ratios.double()
    if share == 1.0:
        return torch.zeros_like(ratios)
    return torch.logaddexp(ratios + log(1 - share), torch.full_like(ratios, log(share)))


def choose_share(ratios: Tensor, weights: Tensor) -> float:
    """The share of p with the best mean over validation rows; 1 unless they are enough and the gain is clear of its error."""
    if len(ratios) < FEWEST_TO_CHOOSE:
        return 1.0
    found = {share: mix(ratios, share) for share in SHARES}
    best = max(found, key=lambda share: float(weights.double() @ found[share]))
    return best if is_clear(found[best], weights) else 1.0


def is_clear(gains: Tensor, weights: Tensor) -> bool:
    """Whether the mean of ``gains`` (row,) is `LEAST_GAIN_ERRORS` of its standard errors above 0."""
    weights = weights.double()
    mean = float(weights @ gains)
    return mean > LEAST_GAIN_ERRORS * sqrt(float(weights.square() @ (gains - mean).square()))
