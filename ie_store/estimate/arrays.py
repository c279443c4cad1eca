"""Mutual information of anyone's arrays."""

from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ie_store.errors import InputError
from ie_store.estimate.discrete import PairedClasses, pair_classes
from ie_store.estimate.noise import noise_estimate
from ie_store.estimate.paper import paper_estimate
from ie_store.estimate.split import FEWEST_SEQUENCES
from ie_store.estimate.stack import estimate_stack
from ie_store.options import EstimatorSpec, OnProgress, ignore_progress
from ie_store.prefixes import entropy_nats
from ie_store.specs import EstimatorName, MIEstimate, Outcome, suggestion

IDENTICAL = "x and y are the same rows: the value is the entropy of the rows, and infinite for a continuous variable"


def mutual_information(
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    *,
    estimator: str | EstimatorSpec = "mine",
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
        estimator: exact, mine, infonce, nwj, smile, js, cca, noise or mine-paper; or a whole `EstimatorSpec`. ``noise`` is
            I(y; x + noise) over the rows as listed, for a ``y`` that determines ``x``.
        seed: of the split, the critic and the mini-batches; not used with an `EstimatorSpec`.
        weights: (row,) probabilities where the rows are a table of all there is; expectations are then exact sums.
        on_progress: told of every optimiser step.
        options: further fields of `EstimatorSpec`.

    Raises:
        InputError: an unknown estimator or option, arrays that do not pair, NaN or Inf, or fewer than 50 rows.
    """
    spec = estimator if isinstance(estimator, EstimatorSpec) else make_spec(estimator, seed, options)
    left, right = _read_rows(x, "x"), _read_rows(y, "y")
    if len(left) != len(right):
        raise InputError(f"x has {len(left)} rows and y has {len(right)}: row i of x belongs to row i of y, give as many of both")
    if weights is None and len(left) < FEWEST_SEQUENCES:
        raise InputError(f"{len(left)} rows are too few to train and test a critic; give at least {FEWEST_SEQUENCES}")
    given = None if weights is None else _read_weights(weights, len(left))
    classes = pair_classes(left.cpu().numpy(), right.cpu().numpy(), given)
    if len(np.unique(classes.x)) == 1 or len(np.unique(classes.y)) == 1:
        return _known(spec.name, 0.0, "x or y is constant: it tells nothing")
    estimate = _estimate(left, right, spec, classes, on_progress)
    return replace(estimate, flags=(*estimate.flags, IDENTICAL)) if torch.equal(left, right) else estimate


def make_spec(estimator: str, seed: int, options: dict[str, Any]) -> EstimatorSpec:
    """An `EstimatorSpec` from a name and loose options.

    Raises:
        InputError: an option no `EstimatorSpec` has, or a value it refuses.
    """
    known = [f.name for f in fields(EstimatorSpec) if f.name != "name"]
    for name in options:
        if name not in known:
            raise InputError(f"option {name!r} is not known{suggestion(name, known)}; choose from: {', '.join(known)}")
    return EstimatorSpec(name=cast(EstimatorName, estimator), seed=seed, **options)


def _estimate(x: Tensor, y: Tensor, spec: EstimatorSpec, classes: PairedClasses, on_progress: OnProgress) -> MIEstimate:
    ceiling = classes.ceiling_nats
    if spec.name == "exact":
        if classes.exact_nats is None:
            raise InputError(
                f"exact needs rows that repeat: {classes.x.max() + 1} rows of x and {classes.y.max() + 1} of y are distinct "
                f"among {len(x)}; use a trained estimator such as mine"
            )
        return _known("exact", classes.exact_nats)
    if spec.name == "noise":
        return _noise(x, spec, classes, on_progress)
    if spec.name == "mine-paper":
        return paper_estimate(x, y, spec, ceiling_nats=ceiling, on_progress=on_progress)
    row_of_sequence = None
    if classes.joint_repeats and not classes.is_table:
        first_rows, row_of_sequence = np.unique(classes.joint, return_index=True)[1], classes.joint
        x, y = x[first_rows], y[first_rows]
    return estimate_stack(
        x[None],
        y[None],
        spec,
        groups=np.arange(0 if classes.is_table else len(classes.x)),
        row_of_sequence=row_of_sequence,
        weights=classes.weights if classes.is_table else None,
        ceilings_nats=(ceiling,),
        on_progress=on_progress,
    )[0]


def _noise(x: Tensor, spec: EstimatorSpec, classes: PairedClasses, on_progress: OnProgress) -> MIEstimate:
    if classes.joint.max() != classes.y.max():
        raise InputError(
            "noise is I(y; x + noise) where y determines x, and here equal rows of y stand beside different rows of x; use mine"
        )
    first_rows = torch.from_numpy(np.unique(classes.x, return_index=True)[1]).to(x.device)
    counts = np.bincount(classes.x, weights=classes.weights)
    return noise_estimate(x[first_rows], counts, spec, ceiling_nats=entropy_nats(counts), on_progress=on_progress)


def _known(name: EstimatorName, nats: float, *flags: str) -> MIEstimate:
    return MIEstimate(
        estimator=name,
        nats=nats,
        interval_nats=(nats, nats),
        standard_error_nats=0.0,
        ceiling_nats=nats,
        ceiling_population_nats=None,
        outcome=Outcome.EXACT,
        flags=flags,
    )


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
