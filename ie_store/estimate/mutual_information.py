"""Mutual information of anyone's arrays."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from ie_store.errors import InputError
from ie_store.estimate.array_input import GivenPair, read_rows, read_weights
from ie_store.estimate.critics.folds import FEWEST_SEQUENCES
from ie_store.estimate.exact.discrete import pair_classes
from ie_store.estimators import DEFAULT, EstimatorSpec, estimator_spec, option_names, resolve
from ie_store.options import OnProgress, ignore_progress
from ie_store.specs import MIEstimate

MeasureArrays = Callable[[EstimatorSpec[Any], GivenPair, OnProgress], MIEstimate]
"""Estimates from paired rows."""
IDENTICAL = "x and y are the same rows: the value is the entropy of the rows, and infinite for a continuous variable"


def mutual_information(
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    *,
    estimator: str | EstimatorSpec[Any] = DEFAULT,
    seed: int = 0,
    weights: ArrayLike | Tensor | None = None,
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> MIEstimate:
    """Mutual information in nats between paired rows of two arrays.

    Rows that repeat (at most half of them distinct) are a discrete set: the exact value of the rows as listed is then
    the ceiling. Arrays without repeats have none. Rows are compared as they are given; the value does not depend on the
    scale of x or y. Estimators compute in float32: rows that it cannot tell apart are flagged.

    Args:
        x: (row, dimension) or (row,) numbers; numpy array or tensor (its device is where the work is done).
        y: (row, dimension) or (row,), row i belonging to row i of ``x``.
        estimator: a name from the table of estimators (`ie_store.estimators`), or a whole `EstimatorSpec`. ``noise`` is
            I(y; x + noise) over the rows as listed, for a ``y`` that determines ``x``. ``mine-paper`` is trained on arrays
            that are centred and of root mean square 1, since its critic depends on scale.
        seed: of the split, the critic and the mini-batches, where the estimator has any; not used with an `EstimatorSpec`.
        weights: (row,) probabilities where the rows are a table of all there is; expectations are then exact sums.
        on_progress: called with every optimiser step.
        options: further options of the estimator.

    Raises:
        InputError: an unknown estimator or option, arrays that do not pair, are not real numbers, or hold NaN, Inf or numbers
            that float32 cannot hold side by side, or fewer than 50 rows.
    """
    spec = estimator if isinstance(estimator, EstimatorSpec) else _spec(estimator, seed, options)
    left, right = read_rows(x, "x"), read_rows(y, "y")
    num_rows = len(left.rows)
    if num_rows != len(right.rows):
        raise InputError(
            f"x has {num_rows} rows and y has {len(right.rows)}: row i of x belongs to row i of y, give as many of both"
        )
    if weights is None and num_rows < FEWEST_SEQUENCES:
        raise InputError(f"{num_rows} rows are too few to train and test a critic; give at least {FEWEST_SEQUENCES}")
    given = None if weights is None else read_weights(weights, num_rows)
    if given is not None and not given.all():
        weighted = np.flatnonzero(given)
        left, right, given = left.at(weighted), right.at(weighted), given[weighted]
    classes = pair_classes(left.classes, right.classes, given)
    if len(np.unique(classes.x)) == 1 or len(np.unique(classes.y)) == 1:
        return MIEstimate.exactly(spec.name, 0.0, flags=("x or y is constant: it tells nothing",))
    estimate = _measure(spec)(spec, GivenPair(left=left, right=right, classes=classes), on_progress)
    identical = np.array_equal(left.rows, right.rows)
    return replace(estimate, flags=(*estimate.flags, IDENTICAL)) if identical else estimate


def _spec(name: str, seed: int, options: dict[str, Any]) -> EstimatorSpec[Any]:
    given = options | ({"seed": seed} if "seed" in option_names(name) else {})
    return estimator_spec(name, **{key: value.item() if isinstance(value, np.generic) else value for key, value in given.items()})


def _measure(spec: EstimatorSpec[Any]) -> MeasureArrays:
    if spec.row.measure_arrays is None:
        raise InputError(
            f"{spec.name} needs the states of a stored dataset, whose prefixes are listed and counted: arrays have no known "
            f"p(x); for arrays use another, such as {DEFAULT}"
        )
    return resolve(spec.row.measure_arrays)
