"""Mutual information of anyone's arrays."""

from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ie_store.errors import InputError
from ie_store.estimate.array_input import GivenRows, read_rows, read_weights, to_float32
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
        estimator: exact, mine, infonce, nwj, smile, js, cca, noise or mine-paper; or a whole `EstimatorSpec`. ``noise`` is
            I(y; x + noise) over the rows as listed, for a ``y`` that determines ``x``. ``mine-paper`` is trained on arrays
            that are centred and of root mean square 1, since its critic depends on scale.
        seed: of the split, the critic and the mini-batches; not used with an `EstimatorSpec`.
        weights: (row,) probabilities where the rows are a table of all there is; expectations are then exact sums.
        on_progress: told of every optimiser step.
        options: further fields of `EstimatorSpec`.

    Raises:
        InputError: an unknown estimator or option, arrays that do not pair, are not real numbers, or hold NaN, Inf or numbers
            that float32 cannot hold side by side, or fewer than 50 rows.
    """
    spec = estimator if isinstance(estimator, EstimatorSpec) else make_spec(estimator, seed, options)
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
        return _known(spec.name, 0.0, "x or y is constant: it tells nothing")
    estimate = _estimate(left, right, spec, classes, on_progress)
    identical = np.array_equal(left.rows, right.rows)
    return replace(estimate, flags=(*estimate.flags, IDENTICAL)) if identical else estimate


def make_spec(estimator: str, seed: int, options: dict[str, Any]) -> EstimatorSpec:
    """An `EstimatorSpec` from a name and loose options.

    Raises:
        InputError: an option no `EstimatorSpec` has, or a value it refuses.
    """
    known = [f.name for f in fields(EstimatorSpec) if f.name != "name"]
    for name in options:
        if name not in known:
            raise InputError(f"option {name!r} is not known{suggestion(name, known)}; choose from: {', '.join(known)}")
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in (options | {"seed": seed}).items()}
    return EstimatorSpec(name=cast(EstimatorName, estimator), **plain)


def _estimate(
    left: GivenRows, right: GivenRows, spec: EstimatorSpec, classes: PairedClasses, on_progress: OnProgress
) -> MIEstimate:
    if spec.name == "exact":
        if classes.exact_nats is None:
            raise InputError(
                f"exact needs rows that repeat: {classes.x.max() + 1} rows of x and {classes.y.max() + 1} of y are distinct "
                f"among {len(classes.x)}; use a trained estimator such as mine"
            )
        return _known("exact", classes.exact_nats)
    device = right.device if left.device.type == "cpu" else left.device
    together = spec.name == "mine-paper" or (spec.name == "noise" and spec.scale == "rms")
    x, flags = to_float32(left, together=together)
    if spec.name == "noise":
        estimate = _noise(x.to(device), spec, classes, on_progress)
        return replace(estimate, flags=(*estimate.flags, *flags))
    y, y_flags = to_float32(right, together=together)
    measure = _paper if spec.name == "mine-paper" else _trained
    estimate = measure(x.to(device), y.to(device), spec, classes, on_progress)
    return replace(estimate, flags=(*estimate.flags, *flags, *y_flags))


def _paper(x: Tensor, y: Tensor, spec: EstimatorSpec, classes: PairedClasses, on_progress: OnProgress) -> MIEstimate:
    left, right = _of_unit_rms(x), _of_unit_rms(y)
    return paper_estimate(left, right, spec, ceiling_nats=classes.ceiling_nats, on_progress=on_progress)


def _trained(x: Tensor, y: Tensor, spec: EstimatorSpec, classes: PairedClasses, on_progress: OnProgress) -> MIEstimate:
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
        ceilings_nats=(classes.ceiling_nats,),
        on_progress=on_progress,
    )[0]


def _of_unit_rms(rows: Tensor) -> Tensor:
    """Rows (row, dimension) around their mean, with a mean square of 1 over all dimensions: the published critic sees scale."""
    centred = rows.double() - rows.double().mean(0)
    return (centred / centred.square().mean().sqrt()).float()


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
