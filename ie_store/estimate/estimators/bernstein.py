"""Means of bounded draws with an interval that holds: the empirical Bernstein bound, looked at a fixed number of times.

Maurer and Pontil (2009): for n independent variables in [0, 1] with sample variance v, the mean of their expectations lies
below their mean plus ``sqrt(2 v ln(2/delta) / n) + 7 ln(2/delta) / (3 (n - 1))`` with probability at least 1 - delta.
Their theorem 4 says so of variables of one distribution, their theorem 11 of independent ones of any: the sample variance
then holds the spread of the means as well, which only widens the bound. So one draw from each of n strata of equal
probability will do, and the mean of the expectations is the expectation. Applied to both sides, and scaled to [0, span].

Whoever stops when the interval is narrow looks at it several times. The looks are fixed beforehand, each twice as large as
the one before, and each spends an equal share of the error; all of them hold together, so the one that is kept does.
"""

from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

FIRST_LOOK = 1024
"""Draws of the first look, about."""


@dataclass(frozen=True, kw_only=True)
class BoundedMean:
    """A mean (quantity,) of independent draws in [0, span], and where the expectation lies."""

    value: NDArray[np.float64]
    half_width: NDArray[np.float64]
    """Each interval holds by itself, not all of them together."""
    standard_error: NDArray[np.float64]
    """From the sample variance: at most too large, where strata were drawn from."""


def constant(values: NDArray[np.float64]) -> BoundedMean:
    """What needs no draws."""
    return BoundedMean(value=values, half_width=np.zeros_like(values), standard_error=np.zeros_like(values))


def look_sizes(most: int) -> tuple[int, ...]:
    """Draws (look,) at each look, rising to ``most``, each twice the one before."""
    sizes = [most]
    while sizes[-1] >= 2 * FIRST_LOOK:
        sizes.append(sizes[-1] // 2)
    return tuple(reversed(sizes))


def half_width(variance: float, num_draws: int, span: float, error: float) -> float:
    """Distance from the mean that the expectation keeps, on both sides together, but with probability ``error``."""
    exponent = log(4 / error)
    return sqrt(2 * variance * exponent / num_draws) + 7 * span * exponent / (3 * (num_draws - 1))


def bounded_mean(draws: NDArray[np.float64], spans: NDArray[np.float64], error: float) -> BoundedMean:
    """Mean and interval over ``draws`` (draw, quantity), at least 2, each quantity in [0, span] of ``spans`` (quantity,)."""
    num_draws = len(draws)
    variance = draws.var(axis=0, ddof=1)
    reach = [half_width(v, num_draws, span, error) for v, span in zip(variance.tolist(), spans.tolist(), strict=True)]
    return BoundedMean(
        value=draws.mean(axis=0), half_width=np.array(reach), standard_error=np.sqrt(variance / num_draws)
    )  # fmt: skip
