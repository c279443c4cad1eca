"""Intrinsic dimension from distances to neighbours: TwoNN and GRIDE, each with the interval of its likelihood.

In d dimensions of locally constant density the ratio m of the distances to the 2k-th and the k-th neighbour has the density::

    f(m) = d (m^d - 1)^(k-1) / (B(k, k) m^((2k-1) d + 1))                (Denti et al. 2022, eq. 8 with n1 = k, n2 = 2k)

With k = 1 that is Pareto's, and ln m is exponential with rate d: TwoNN (Facco et al. 2017), here by maximum likelihood with the
largest ratios as censored (what ``skdim.id.TwoNN(method="mle")`` computes). GRIDE has N - 1 for N, as DADApy has.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ie_store.specs import NORMAL_95

BISECTIONS = 60
Numbers = NDArray[np.float64]


class Dimension(NamedTuple):
    """A dimension and the 95% interval of the likelihood; NaN where there is nothing to tell."""

    value: float
    low: float
    high: float


UNKNOWN = Dimension(float("nan"), float("nan"), float("nan"))


def log_ratios(near: Numbers, far: Numbers) -> Numbers:
    """ln(far / near) of the rows (row,) whose ``near`` is above 0: equal states say nothing of dimension."""
    kept = near > 0
    return np.log(far[kept] / near[kept])


def two_nn(ratios: Numbers, discarded: float) -> Dimension:
    """TwoNN from ``ratios`` (row,), ln of the distance to the second over that to the first neighbour.

    Maximum likelihood, unbiased, of an exponential rate where the largest ``discarded`` share is censored; its relative
    standard error is 1 / sqrt(ratios kept).
    """
    num_kept = int(len(ratios) * (1 - discarded))
    if num_kept < 2:
        return UNKNOWN
    kept = np.sort(ratios)[:num_kept]
    total = kept.sum() + (len(ratios) - num_kept) * kept[-1]
    return _with_error((num_kept - 1) / total, (num_kept - 1) / total / np.sqrt(num_kept)) if total > 0 else UNKNOWN


def gride(ratios: Numbers, k: int) -> Dimension:
    """GRIDE from ``ratios`` (row,), ln of the distance to the 2k-th over that to the k-th neighbour.

    The root of the likelihood's derivative, which falls with the dimension; the standard error is that of its curvature there.
    """
    if len(ratios) < 2 or not ratios.any():
        return UNKNOWN
    low, high = np.log(1e-3), np.log(1e5)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _slope(ratios, k, np.exp(middle)) > 0 else (low, middle)
    value = float(np.exp(low))
    scaled = value * ratios
    curved = np.where(scaled > 1e-6, (scaled / (2 * np.sinh(np.minimum(scaled, 700) / 2).clip(1e-300))) ** 2, 1.0)
    return _with_error(value, value / np.sqrt(len(ratios) + (k - 1) * curved.sum()))


def _slope(ratios: Numbers, k: int, dimension: float) -> float:
    """Derivative of the log-likelihood times the dimension."""
    scaled = dimension * ratios
    with np.errstate(invalid="ignore", divide="ignore"):
        pulled = np.where(scaled > 1e-12, scaled / -np.expm1(-scaled), 1.0)
    return float(len(ratios) - 1 + (k - 1) * pulled.sum() - (2 * k - 1) * scaled.sum())


def _with_error(value: float, error: float) -> Dimension:
    return Dimension(value, value - NORMAL_95 * error, value + NORMAL_95 * error)
