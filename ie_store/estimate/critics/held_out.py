"""Test values of trained critics, and what folds and seeds together say of the mutual information."""

from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
import torch
from torch import Tensor

from ie_store.estimate.critics.bounds import Bound, PairStatistics, infonce, resolution_floor, smile, tuba
from ie_store.estimate.critics.folds import Fold, Groups
from ie_store.estimate.critics.scores import SplitPart
from ie_store.specs import NORMAL_95

_STUDENT_95 = (12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139)
"""97.5% quantiles of Student's distribution of 1 to 10 degrees of freedom."""
MOST_RATIO = 1e3
"""Of two parts of a variance, beyond which the smaller one is nothing."""


@dataclass(frozen=True, kw_only=True)
class FoldValue:
    """One fold's value on its test rows."""

    nats: Tensor
    """(problem,)"""
    influence: Tensor
    """(problem, test row) whose mean is the value: what each row adds to it"""
    train_nats: Tensor
    """(problem,) the same statistic on train rows"""
    num_test: int
    """Test sequences."""
    num_references: int | None
    """Columns that each test row is scored against; None where none are needed."""
    num_negatives: int
    """Pairs of the product of the marginals in the test value."""


@dataclass(frozen=True, kw_only=True)
class SplitStatistics:
    """A trained critic's statistics on the three sides."""

    train: PairStatistics
    validation: PairStatistics
    test: PairStatistics
    clipped_test: PairStatistics | None = None
    """The test statistics with SMILE's clip."""


def bound_value(bound: Bound, found: SplitStatistics, test: SplitPart) -> FoldValue:
    """The ``bound`` on test rows; its constant, where it has one, comes from validation rows."""
    log_constant = torch.zeros_like(found.validation.mean_joint) if bound == "nwj" else found.validation.log_marginal
    if not test.is_weighted:
        log_constant = torch.maximum(log_constant, resolution_floor(found.validation.mean_joint, _resolution(test)))
    if bound == "infonce":
        (nats, influence), (train_nats, _) = infonce(found.test), infonce(found.train)
    elif found.clipped_test is not None:
        nats, influence = smile(found.test, found.clipped_test)
        train_nats = found.train.mean_joint - found.train.log_marginal
    else:
        (nats, influence), (train_nats, _) = (tuba(side, log_constant) for side in (found.test, found.train))
    num_meeting = len(test.rows) if bound == "infonce" else test.num_references
    own = 0 if test.is_weighted else test.num_references
    return FoldValue(
        nats=nats,
        influence=influence,
        train_nats=train_nats,
        num_test=test.num_sequences,
        num_references=_resolution(test),
        num_negatives=num_meeting * test.num_references - own,
    )


def _resolution(test: SplitPart) -> int:
    """What test rows are told apart from: all test sequences, or the references where they are fewer than the rows."""
    return test.num_sequences if test.num_references == len(test.rows) else test.num_references


def linear_value(nats: Tensor, train_nats: Tensor, scores: Tensor, test: SplitPart) -> FoldValue:
    """The Gaussian value of canonical correlations: the mean of its test scores (problem, test row), no negatives needed."""
    return FoldValue(
        nats=nats, influence=scores, train_nats=train_nats, num_test=test.num_sequences, num_references=None, num_negatives=0
    )


@dataclass(frozen=True, kw_only=True)
class Combined:
    """One problem's value over folds and seeds."""

    nats: float
    standard_error_nats: float
    fold_nats: tuple[float, ...]
    """By seed, then fold."""
    fold_error_nats: float
    """Standard error of the mean from the spread over folds and seeds alone."""
    reach: float
    """Standard errors that the interval reaches: Student's where the error is the spread of a few values."""

    @property
    def interval_nats(self) -> tuple[float, float]:
        """95% interval."""
        reach = self.reach * self.standard_error_nats
        return self.nats - reach, self.nats + reach


def student_95(freedom: int) -> float:
    """Half the width of Student's 95% interval in standard errors, for at least one degree of freedom."""
    if freedom <= len(_STUDENT_95):
        return _STUDENT_95[freedom - 1]
    z = NORMAL_95  # Cornish and Fisher's expansion
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))


def combine(values: list[list[FoldValue]], folds: list[Fold], groups: Groups, problem: int) -> Combined:
    """Mean over seeds and folds of one problem; its error is clustered by group and holds the spread over folds and seeds.

    Two folds say little of their spread: where it is most of the error, the interval reaches further than 1.96 of them.

    Args:
        values: (seed, fold).
        folds: those of every seed.
        groups: (sequence,) sequences of one group are one cluster; empty for a table that is its population.
        problem: which of the stack.
    """
    fold_nats = np.array([[value.nats[problem].item() for value in of_seed] for of_seed in values])
    count = fold_nats.size
    with np.errstate(invalid="ignore"):  # the spread of infinite ones, and the mean of both infinities
        mean = float(fold_nats.mean())
        swing = float(fold_nats.std(ddof=1) / sqrt(count)) if count > 1 else 0.0
    shares = np.zeros(len(groups))
    for of_seed in values:
        for value, fold in zip(of_seed, folds, strict=True):
            influence = (value.influence[problem] - value.nats[problem]).double().cpu().numpy()
            entries = fold.test_entries.numpy()
            shares[fold.test_sequences.numpy()] += influence[entries] / max(1, len(entries)) / count
    clusters = shares if isinstance(groups, range) else np.bincount(groups, weights=shares) if len(groups) else np.zeros(1)
    sampling = float(np.square(clusters).sum())
    return Combined(
        nats=mean,
        standard_error_nats=sqrt(sampling + swing**2),
        reach=_reach(sampling, swing**2, count - 1),
        fold_nats=tuple(fold_nats.ravel().tolist()),
        fold_error_nats=swing,
    )


def _reach(sampling: float, spread: float, freedom: int) -> float:
    """Standard errors of the interval whose variance is that of many rows and a ``spread`` known with few degrees of freedom.

    Those of the sum are as Satterthwaite (1946) has them, rounded down.
    """
    if not (spread > 0.0 and isfinite(sampling)):
        return NORMAL_95
    return student_95(int(freedom * (1 + min(sampling / spread, MOST_RATIO)) ** 2))
