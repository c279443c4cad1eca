"""One layer's states as one fold of `decode` sees them: uncorrelated on its train rows, and what heads need to know of these.

Train rows are read twice, tile by tile: for their mean and deviation, then for their covariance and the sums for each token.
No copy of the rows is made; those that are to be scored are turned when they are asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ie_store.estimate.critics.folds import Fold
from ie_store.estimate.stored_rows import StoredRows, as_rows

ROWS_AT_ONCE = 4096
MOST_CALIBRATION_ROWS = 1024
LEAST_DEVIATION = 1e-9
"""Of the largest standard deviation, below which a dimension is constant."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """The tokens that stand at one position of the listed prefixes."""

    position: int
    tokens: Tensor
    """(outcome,) int32 token of each prefix, 0..K-1"""
    log_shares: Tensor
    """(token,) logarithm of the listed frequencies"""
    features: Tensor
    """(token, feature) phi, see `token_features`"""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What train rows say of the tokens of one position."""

    shares: Tensor
    """(token,) weight of the train rows with the token"""
    sums: Tensor
    """(token, dimension) weighted sum of their states in the design"""


@dataclass(frozen=True, kw_only=True)
class Design:
    """States standardised and turned to the principal axes of the train rows."""

    rows: StoredRows
    """(outcome, hidden) as they were given"""
    mean: Tensor
    """(hidden,) of train rows"""
    inverse: Tensor
    """(hidden,) 1 / their standard deviation; 0 where they are constant"""
    axes: Tensor
    """(hidden, dimension)"""
    variances: Tensor
    """(dimension,) of train rows"""
    seen: tuple[Seen, ...]
    """Of each column."""
    validation: Tensor
    """(row,) at most `MOST_CALIBRATION_ROWS` outcomes"""
    validation_states: Tensor
    """(row, dimension) theirs"""
    validation_weights: Tensor

    def states(self, chosen: Tensor) -> Tensor:
        """(row, dimension) of the ``chosen`` (row,) outcomes."""
        return _standard(self.rows.take(chosen), self.mean, self.inverse) @ self.axes


def make_design(rows: Tensor | StoredRows, fold: Fold, columns: list[Column]) -> Design:
    """The design of states ``rows`` (outcome, hidden), for heads of ``columns``."""
    rows = as_rows(rows)
    mean, inverse = _spread(rows, fold)
    seen = [
        Seen(shares=torch.zeros_like(c.log_shares), sums=torch.zeros((len(c.log_shares), len(mean)), device=rows.device))
        for c in columns
    ]
    covariance = torch.zeros((len(mean), len(mean)), dtype=torch.float64, device=rows.device)
    for chosen, weights in _train_tiles(fold):
        standard, weight = _standard(rows.take(chosen), mean, inverse), weights.float()
        weighted = standard * weight[:, None]
        covariance += weighted.T @ standard
        for column, found in zip(columns, seen, strict=True):
            tokens = column.tokens[chosen]
            found.shares.index_add_(0, tokens, weight)
            found.sums.index_add_(0, tokens, weighted)
    variances, axes = torch.linalg.eigh((covariance + covariance.T) / 2)
    axes = axes.float()
    every = -(-len(fold.validation.rows) // MOST_CALIBRATION_ROWS)
    validation, of_validation = fold.validation.rows[::every], fold.validation.probabilities[::every]
    return Design(
        rows=rows,
        mean=mean,
        inverse=inverse,
        axes=axes,
        variances=variances.clamp_min(0).float(),
        seen=tuple(Seen(shares=found.shares, sums=found.sums @ axes) for found in seen),
        validation=validation,
        validation_states=_standard(rows.take(validation), mean, inverse) @ axes,
        validation_weights=(of_validation / of_validation.sum()).float(),
    )


def _train_tiles(fold: Fold) -> Iterator[tuple[Tensor, Tensor]]:
    """Outcomes (row,) and their weights (row,)."""
    return zip(fold.train.rows.split(ROWS_AT_ONCE), fold.train.probabilities.split(ROWS_AT_ONCE), strict=True)


def _spread(rows: StoredRows, fold: Fold) -> tuple[Tensor, Tensor]:
    """Mean and inverse deviation (hidden,) of train rows, by their distances to the first: cancellation is harmless."""
    centre = rows.take(fold.train.rows[:1])[0].float()
    first, second = torch.zeros_like(centre).double(), torch.zeros_like(centre).double()
    for chosen, weights in _train_tiles(fold):
        away = rows.take(chosen).float().sub_(centre)
        first += weights.float() @ away
        second += weights.float() @ away.square_()
    deviation = (second - first.square()).clamp_min(0).sqrt()
    inverse = torch.where(deviation > LEAST_DEVIATION * deviation.max(), 1 / deviation, 0.0)
    return (centre + first).float(), inverse.float()


def _standard(rows: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
    return rows.float().sub(mean).mul_(inverse)
