"""Mutual information of anyone's arrays."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ie_store.errors import InputError
from ie_store.estimate.discrete import PairedClasses, pair_classes
from ie_store.estimate.split import FEWEST_SEQUENCES
from ie_store.estimators import DEFAULT, EstimatorSpec, estimator_spec, option_names, resolve
from ie_store.options import OnProgress, ignore_progress
from ie_store.specs import MIEstimate

MeasureArrays = Callable[[EstimatorSpec[Any], Tensor, Tensor, PairedClasses, OnProgress], MIEstimate]
"""Estimates from float32 rows x and y (row, dimension) of one length and their classes of equal rows."""
IDENTICAL = "x and y are the same rows: the value is the entropy of the rows, and infinite for a continuous variable"


def mutual_information(
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    *,
    estimator: str | EstimatorSpec[Any] = DEFAULT,
    seed: int = 0,
    weights: ArrayLike | None = None,
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> MIEstimate:
    """Mutual information in nats between paired rows of two arrays.

    Rows that repeat (at most half of them distinct) are a discrete set: the exact value of the rows as listed is then
    the ceiling. Arrays without repeats have none.

    Args:
        x: (row, dimension) or (row,) numbers; numpy array or tensor (its device is where the work is done).
        y: (row, dimension) or (row,), row i belonging to row i of ``x``.
        estimator: a name from the table of estimators (`ie_store.estimators`), or a whole `EstimatorSpec`. ``noise`` is
            I(y; x + noise) over the rows as listed, for a ``y`` that determines ``x``.
        seed: of the split, the critic and the mini-batches, where the estimator has any; not used with an `EstimatorSpec`.
        weights: (row,) probabilities where the rows are a table of all there is; expectations are then exact sums.
        on_progress: told of every optimiser step.
        options: further options of the estimator.

    Raises:
        InputError: an unknown estimator or option, arrays that do not pair, NaN or Inf, or fewer than 50 rows.
    """
    spec = estimator if isinstance(estimator, EstimatorSpec) else _spec(estimator, seed, options)
    left, right = _read_rows(x, "x"), _read_rows(y, "y")
    if len(left) != len(right):
        raise InputError(f"x has {len(left)} rows and y has {len(right)}: row i of x belongs to row i of y, give as many of both")
    if weights is None and len(left) < FEWEST_SEQUENCES:
        raise InputError(f"{len(left)} rows are too few to train and test a critic; give at least {FEWEST_SEQUENCES}")
    given = None if weights is None else _read_weights(weights, len(left))
    classes = pair_classes(left.cpu().numpy(), right.cpu().numpy(), given)
    if len(np.unique(classes.x)) == 1 or len(np.unique(classes.y)) == 1:
        return MIEstimate.exactly(spec.name, 0.0, flags=("x or y is constant: it tells nothing",))
    estimate = _measure(spec)(spec, left, right, classes, on_progress)
    return replace(estimate, flags=(*estimate.flags, IDENTICAL)) if torch.equal(left, right) else estimate


def _spec(name: str, seed: int, options: dict[str, Any]) -> EstimatorSpec[Any]:
    return estimator_spec(name, **options, **({"seed": seed} if "seed" in option_names(name) else {}))


def _measure(spec: EstimatorSpec[Any]) -> MeasureArrays:
    if spec.row.measure_arrays is None:
        raise InputError(
            f"{spec.name} needs the states of a stored dataset; for arrays of your own use another, such as {DEFAULT}"
        )
    return resolve(spec.row.measure_arrays)


def _read_rows(values: ArrayLike | Tensor, name: str) -> Tensor:
    tensor = values.detach() if isinstance(values, Tensor) else torch.from_numpy(_numbers(values, name))
    if tensor.dim() == 1:
        tensor = tensor[:, None]
    if tensor.dim() != 2 or tensor.shape[1] == 0:
        raise InputError(f"{name} has shape {tuple(tensor.shape)}; give (row, dimension) or (row,)")
    if tensor.is_complex():
        raise InputError(f"{name} is complex; give its real and imaginary parts as dimensions")
    tensor = tensor.double() if not tensor.is_floating_point() else tensor
    finite = torch.isfinite(tensor).all(dim=1)
    if not bool(finite.all()):
        rows = torch.nonzero(~finite)[:, 0]
        raise InputError(
            f"{name} has NaN or Inf in {len(rows)} of {len(tensor)} rows, the first is row {int(rows[0])}; drop them"
        )
    return (tensor - tensor.mean(0)).float() if tensor.dtype == torch.float64 else tensor.float()


def _numbers(values: ArrayLike, name: str) -> NDArray[Any]:
    array = np.array(values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} holds {array.dtype}, not real numbers")
    return array if array.dtype in (np.float16, np.float32) else array.astype(np.float64)


def _read_weights(weights: ArrayLike, num_rows: int) -> NDArray[np.float64]:
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != (num_rows,) or not np.isfinite(array).all() or array.min() < 0 or array.sum() <= 0:
        raise InputError(f"weights must be {num_rows} finite numbers >= 0, one per row and not all 0; got shape {array.shape}")
    total = float(array.sum())
    return array / total
