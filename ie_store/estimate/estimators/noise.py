"""The ``noise`` estimator: the information left in a block's input under noise, and what it tells of past tokens.

An emergence is made of one macro and of at most as many micro terms as there are positions. Macro intervals miss with a
probability of at most 0.04, micro ones of 0.01 divided by the positions: so all that enter an emergence hold together with at
least 0.95, and their difference, low minus high, does. Micro terms have few outcomes; their stricter intervals cost nothing.
Intervals are each for themselves over layers, positions, sigmas and past tokens.
"""

from dataclasses import replace
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.errors import InputError
from ie_store.estimate.array_input import GivenPair
from ie_store.estimate.batch_states import BatchStates, ItemShape, Measured, Needs, ceilings_at
from ie_store.estimate.estimators.noise_curve import Information, NoiseCurve, noise_curve
from ie_store.estimate.estimators.posterior import PAST_BYTES, TILE
from ie_store.estimate.exact.entropies import within_ceiling
from ie_store.estimator_options import NoiseOptions
from ie_store.estimators import EstimatorSpec
from ie_store.options import OnProgress, ignore_progress
from ie_store.prefixes import entropy_nats
from ie_store.specs import MIEstimate, Outcome, Problem
from ie_store.store.results.estimate_variables import CURVE_VALUES, CURVES
from ie_store.store.results.past_variables import PREFIX, PREFIX_CURVE, PSI, TOKEN, TOKEN_CURVE, Ends
from ie_store.variables import Piece, coordinate, piece

ERROR = 0.05
MACRO_ERROR, MICRO_ERROR = 0.04, 0.01
"""Shares of `ERROR` of an emergence's macro term, and of its micro terms together."""


def noise_estimate(
    rows: Tensor,
    weights: NDArray[np.number],
    options: NoiseOptions,
    *,
    ceiling_nats: float | None = None,
    on_progress: OnProgress = ignore_progress,
) -> MIEstimate:
    """The noise-resolved information at ``options.sigma`` as an estimate; arguments and errors as `noise_curve`."""
    started = perf_counter()
    return _estimate(noise_curve(rows, weights, options, on_progress=on_progress), options, ERROR, started, ceiling_nats, None)


def _estimate(
    curve: NoiseCurve,
    options: NoiseOptions,
    error: float,
    started: float,
    ceiling_nats: float | None,
    ceiling_population_nats: float | None,
) -> MIEstimate:
    at = curve.sigmas.index(options.sigma)
    half, half_low, half_high = curve.sigma_half
    return MIEstimate(
        estimator="noise",
        nats=float(curve.left.nats[at]),
        interval_nats=within_ceiling((float(curve.left.low[at]), float(curve.left.high[at])), ceiling_nats),
        standard_error_nats=float(curve.left.standard_error[at]),
        ceiling_nats=ceiling_nats,
        ceiling_population_nats=ceiling_population_nats,
        outcome=Outcome.CERTIFIED,
        diagnostics={
            "sigma": options.sigma,
            "sigma_half": half,
            "sigma_half_low": half_low,
            "sigma_half_high": half_high,
            "num_rows": curve.num_rows,
            "num_draws": curve.num_draws,
            "error": error,
            "num_dimensions": curve.num_dimensions,
            "wall_seconds": perf_counter() - started,
        },
    )


def measure(spec: EstimatorSpec[NoiseOptions], states: BatchStates, problems: list[Problem], on_progress: OnProgress) -> Measured:
    """The value of each problem's input layer, and the curves and pasts of all layers that the problems touch."""
    last_layer = len(states.corpus.listed.macro)
    estimates, pieces = [], []
    for problem in problems:
        started = perf_counter()
        curve = _of_layer(spec.options, states, problem, problem.block, on_progress)
        ceilings = ceilings_at(states.corpus, problem)
        estimates.append(_estimate(curve, spec.options, _error_at(states, problem), started, *ceilings))
        pieces += _pieces(problem, problem.block, curve, spec.options)
        if problem.block + 1 == last_layer:  # no block reads the last layer: it goes with the block that writes it
            curve = _of_layer(spec.options, states, problem, last_layer, on_progress)
            pieces += _pieces(problem, last_layer, curve, spec.options)
    return Measured(estimates=estimates, pieces=(coordinate("sigma", spec.options.sigmas), *pieces))


def needs(spec: EstimatorSpec[NoiseOptions], shape: ItemShape) -> Needs:
    """Tiles and sums over past tokens of each thread, numbers of each outcome; as rows the states in float32."""
    (height, width), levels, size = TILE["cpu"], len(spec.options.sigmas), min(shape.hidden_size, shape.num_rows)
    of_past = min(PAST_BYTES["cpu"], 4 * width * shape.num_positions * shape.num_rows * (1 + len(spec.options.map_sigmas)))
    of_thread = of_past + 2**25 + 4 * height * width * 2 * (levels + 1) + 8 * width * 6 * size
    return Needs(
        working_bytes=shape.threads * of_thread + 100 * shape.num_rows + 24 * size * shape.hidden_size,
        row_bytes=4 * shape.num_rows * (size + 2),
    )


def _error_at(states: BatchStates, problem: Problem) -> float:
    num_positions = states.corpus.listed.micro.shape[1]
    return MACRO_ERROR if problem.level == "macro" else MICRO_ERROR / num_positions


def _of_layer(options: NoiseOptions, states: BatchStates, problem: Problem, layer: int, on_progress: OnProgress) -> NoiseCurve:
    outcomes = states.distinct_in(layer)
    knows_past = problem.level == "macro" and layer > 0
    return noise_curve(
        states.table(layer, outcomes),
        outcomes.counts,
        options,
        error=_error_at(states, problem),
        past=states.corpus.past(problem.position) if knows_past else None,
        room=states.room,
        on_progress=on_progress,
    )


def _pieces(problem: Problem, layer: int, curve: NoiseCurve, options: NoiseOptions) -> list[Piece]:
    """Curve and past of a layer; that of layer 0 is its own token alone."""
    at = ((layer,), (problem.position,))
    low, high = CURVES[problem.level]
    made = _with_ends((CURVE_VALUES[problem.level], low, high), (*at, tuple(range(len(curve.sigmas)))), curve.left)
    if problem.level == "macro" and curve.past is None:
        shown = curve.at_sigma(options.sigma)
        made += [part for ends in (PREFIX, TOKEN) for part in _with_ends(ends, (*at, (problem.position,)), shown)]
    if curve.past is not None:
        over_tokens = (*at, tuple(range(problem.position + 1)))
        made += _with_ends(PREFIX, over_tokens, curve.past.prefix) + _with_ends(TOKEN, over_tokens, curve.past.token)
        made += _with_ends(PSI, at, curve.past.psi)
    for sigma_of_map, past in zip(options.map_sigmas, curve.pasts[1:], strict=False):
        levels = (tuple(range(problem.position + 1)), (curve.sigmas.index(sigma_of_map),))
        made += _with_ends(PREFIX_CURVE, (*at, *levels), past.prefix) + _with_ends(TOKEN_CURVE, (*at, *levels), past.token)
    return made


def _with_ends(variables: Ends, at: tuple[tuple[int, ...], ...], found: Information) -> list[Piece]:
    return [piece(variable, at, values) for variable, values in zip(variables, (found.nats, found.low, found.high), strict=True)]


def of_arrays(spec: EstimatorSpec[NoiseOptions], pair: GivenPair, on_progress: OnProgress) -> MIEstimate:
    """I(y; x + noise) of anyone's paired rows.

    Raises:
        InputError: y does not determine x.
    """
    classes = pair.classes
    if classes.joint.max() != classes.y.max():
        raise InputError(
            "noise is I(y; x + noise) where y determines x, and here equal rows of y stand beside different rows of x; use mine"
        )
    x, flags = pair.x(together=spec.options.scale == "rms")
    first_rows = np.unique(classes.x, return_index=True)[1]
    order = np.argsort(first_rows)  # as they come: classes are numbered by bytes, and draws should not depend on units
    counts = np.bincount(classes.x, weights=classes.weights)[order]
    ceiling = entropy_nats(counts)
    estimate = noise_estimate(
        x[torch.from_numpy(first_rows[order]).to(x.device)], counts, spec.options, ceiling_nats=ceiling, on_progress=on_progress
    )
    return replace(estimate, flags=(*estimate.flags, *flags))
