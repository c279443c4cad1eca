"""The variational bounds, as losses on mini-batches and as values with influences on test rows. Pure functions.

Every bound is made of three things: the scores of the joint pairs, and the means of exp(score) over the product of the
marginals by row and by column (`scores.pair_means`). Sources: Donsker and Varadhan 1983; NWJ: Nguyen, Wainwright and
Jordan 2010; InfoNCE: van den Oord et al. 2018; JS: Hjelm et al. 2019; SMILE: Song and Ermon 2020; the form with a free
constant: Barber and Agakov's TUBA in Poole et al. 2019, eq. 6.
"""

from dataclasses import dataclass
from math import log
from typing import Literal, assert_never

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ie_store.estimate.critics.pairing import Pairing

Bound = Literal["mine", "infonce", "nwj", "smile", "js"]
"""What a critic is trained for."""
SMILE_CLIP = 5.0
"""Nats; one of the values of tau that Song and Ermon 2020 compare."""
SATURATED_SHARE = 0.85
"""Of ln(rows), the most that so many rows can show (McAllester and Stratos 2020): a value beyond it says 'at least'. A choice:
InfoNCE on neighbouring layers of SmolLM2-135M, whose pairs are all but recognised, came to 0.96 of it."""


@dataclass(frozen=True, kw_only=True)
class PairStatistics:
    """What a bound needs to know of a critic's scores on one side."""

    joint: Tensor
    """(problem, row) scores of the pairs (i, i)"""
    row_means: Tensor
    """(problem, row) mean of exp(score) of row i against columns; of rows that meet none, the mean of all"""
    column_means: Tensor
    """(problem, row) mean of exp(score) of rows against column j, likewise"""
    pairing: Pairing
    contrast_means: Tensor | None = None
    """(problem, row) what each row adds as a column to InfoNCE's means, where some rows are no columns"""

    @property
    def probabilities(self) -> Tensor:
        """(row,)"""
        return self.pairing.rows

    @property
    def log_marginal(self) -> Tensor:
        """(problem,) log-mean of exp(score) under the product of the marginals."""
        return (self.row_means @ self.probabilities).log()

    @property
    def mean_joint(self) -> Tensor:
        """(problem,) mean score of the joint pairs."""
        return self.joint @ self.probabilities

    @property
    def with_own(self) -> Tensor:
        """(problem, row) row means with the row's own pair among the columns."""
        return self.pairing.with_own(self.row_means, self.joint)


def tuba(statistics: PairStatistics, log_constant: Tensor) -> tuple[Tensor, Tensor]:
    """E_p[T] - ln a - E_q[exp T] / a + 1, a lower bound in the mean for every a > 0 fixed beforehand.

    Returns:
        Value in nats (problem,), and influence of each row (problem, row) on it.
    """
    scale = (-log_constant).exp()[:, None]
    ratio = (statistics.row_means @ statistics.probabilities)[:, None] * scale
    influence = statistics.joint - (statistics.row_means + statistics.column_means) * scale + ratio - log_constant[:, None] + 1
    return influence @ statistics.probabilities, influence


def infonce(statistics: PairStatistics) -> tuple[Tensor, Tensor]:
    """Mean over rows of T_ii - ln mean_j exp T_ij, at most ln(columns); value (problem,) and influence (problem, row)."""
    influence = statistics.joint - statistics.with_own.log()
    nats = influence @ statistics.probabilities
    if statistics.contrast_means is not None:  # all rows share few columns, whose draw they have in common
        overall = (statistics.contrast_means @ statistics.probabilities)[:, None]
        influence = influence - (statistics.contrast_means - overall)
    return nats, influence


def smile(statistics: PairStatistics, clipped: PairStatistics) -> tuple[Tensor, Tensor]:
    """E_p[T] - ln E_q[exp clip(T)]: less variance than Donsker-Varadhan, and no bound; value and influence."""
    mean = (clipped.row_means @ clipped.probabilities)[:, None]
    influence = statistics.joint - mean.log() - (clipped.row_means + clipped.column_means) / mean + 2
    return influence @ statistics.probabilities, influence


def resolution_floor(mean_joint: Tensor, num_references: int) -> Tensor:
    """Least ln a (problem,) for which `tuba` stays below ln(references), whatever rare pairs the columns do not show.

    With this a the form is ln(references) - E_q[exp T] / a: what would be more than that bends smoothly to it.
    """
    return mean_joint - log(num_references) + 1


def validation_nats(bound: Bound, statistics: PairStatistics) -> Tensor:
    """What training for ``bound`` raises on validation rows (problem,): its own value, or Donsker and Varadhan's."""
    match bound:
        case "infonce":
            return infonce(statistics)[0]
        case "nwj":
            return tuba(statistics, torch.zeros_like(statistics.mean_joint))[0]
        case "mine" | "smile" | "js":
            return statistics.mean_joint - statistics.log_marginal
        case _:
            assert_never(bound)


def loss(bound: Bound, statistics: PairStatistics, exponentials: Tensor, log_average: Tensor) -> Tensor:
    """Loss (problem,) of a mini-batch whose pair matrix of exp(score) is ``exponentials`` (problem, row, row).

    ``log_average`` (problem,) is the running ln E_q[exp T]: dividing by it instead of the batch's own mean takes the
    bias out of the Donsker-Varadhan gradient (Belghazi et al. 2018, section 3.2).
    """
    match bound:
        case "infonce":
            by_column = statistics.pairing.with_own(statistics.column_means, statistics.joint)
            return ((statistics.with_own.log() + by_column.log()) / 2 - statistics.joint) @ statistics.probabilities
        case "js" | "smile":
            others = statistics.probabilities
            negatives = torch.einsum("i,pij,j->p", others, exponentials.log1p() * statistics.pairing.counted, others)
            return softplus(-statistics.joint) @ others + negatives / (1 - statistics.pairing.left_out)
        case "mine" | "nwj":
            # Not the log of the batch's mean: that gradient is divided by the batch's own mean, and the mean of ratios is not
            # the ratio of means. The running mean is a constant to the gradient; this is no value, only a slope.
            mean = statistics.row_means @ statistics.probabilities
            return mean * (-log_average).exp() - statistics.mean_joint
        case _:
            assert_never(bound)
