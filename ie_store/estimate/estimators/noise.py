"""Noise-resolved information: I(S; h + sigma * scale * Z), between two certified bounds, without training.

h + noise is a mixture of Gaussians of one covariance, so its entropy lies between the pairwise-distance bounds of
Kolchinsky and Tracey (2017, eq. 10, with the Chernoff-1/2 and the Kullback-Leibler distance). With D the squared
distance of two rows in units of the scale, and w the rows' weights::

    lower   -sum_i w_i ln sum_j w_j exp(-D_ij / 8 sigma^2)
    upper   -sum_i w_i ln sum_j w_j exp(-D_ij / 2 sigma^2)

One matmul of distances serves all sigmas and both bounds (`kernel`).
"""

from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.errors import InputError
from ie_store.estimate.array_input import GivenPair
from ie_store.estimate.batch_states import BatchStates, Measured, ceilings_at
from ie_store.estimate.critics.held_out import NORMAL_95
from ie_store.estimate.estimators.gaussian_kernel_sums import log_kernel_sums
from ie_store.estimate.exact.entropies import within_ceiling
from ie_store.estimator_options import NoiseOptions
from ie_store.estimators import EstimatorSpec
from ie_store.options import OnProgress, ignore_progress
from ie_store.prefixes import entropy_nats
from ie_store.specs import MIEstimate, Outcome, Problem
from ie_store.store.results.estimate_variables import CURVES
from ie_store.variables import Piece, coordinate, piece

ROWS_AT_ONCE = 4096
Curve = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class NoiseCurve:
    """Certified bounds in nats over the noise levels (sigma,)."""

    sigmas: tuple[float, ...]
    lower_nats: Curve
    upper_nats: Curve
    lower_se_nats: Curve
    """Standard error (sigma,) from sampling the outer rows; 0 where all of them were taken."""
    upper_se_nats: Curve
    entropy_nats: float
    """Entropy of the weights: the value without noise."""
    num_rows: int
    num_outer: int
    num_dimensions: int
    """Dimensions with variance."""

    @property
    def sigma_half(self) -> tuple[float, float]:
        """Interval (low, high) of the sigma at which half of ``entropy_nats`` is left.

        Interpolated linearly in ln(sigma). Outside the noise levels the end is open: 0 on the low side, infinity on the
        high side. NaN where there is no information to halve.
        """
        if self.entropy_nats == 0.0:
            return float("nan"), float("nan")
        half = self.entropy_nats / 2
        low, high = _crossing(self.sigmas, self.lower_nats, half), _crossing(self.sigmas, self.upper_nats, half)
        return (low if np.isfinite(low) else self.sigmas[-1]), (high if high > 0 else self.sigmas[0])


def _crossing(sigmas: tuple[float, ...], falling: Curve, level: float) -> float:
    """Sigma at which ``falling`` (sigma,) reaches ``level``: 0 if it starts below, infinity if it ends above."""
    if falling[0] < level:
        return 0.0
    if falling[-1] > level:
        return float("inf")
    return float(np.exp(np.interp(-level, -falling, np.log(sigmas))))


def standardise(rows: Tensor, probabilities: NDArray[np.float64], scale: str) -> Tensor:
    """Centred rows (row, dimension with variance) in units of the scale, float32; computed in float64.

    Scale ``std``: each dimension's weighted standard deviation. ``rms``: the root mean square deviation over all rows
    and all dimensions with variance.
    """
    rows = rows[:, rows.amax(dim=0) > rows.amin(dim=0)]
    on_device = torch.from_numpy(probabilities).to(rows.device)
    spans = [slice(start, start + ROWS_AT_ONCE) for start in range(0, len(rows), ROWS_AT_ONCE)]
    pieces = [(rows[span], on_device[span]) for span in spans]
    mean = torch.stack([weight @ piece.double() for piece, weight in pieces]).sum(dim=0)
    variance = torch.stack([weight @ (piece.double() - mean).square() for piece, weight in pieces]).sum(dim=0)
    unit = variance.sqrt() if scale == "std" else variance.mean().sqrt()
    return torch.cat([((piece.double() - mean) / unit).float() for piece, _ in pieces])


def draw_outer(probabilities: NDArray[np.float64], options: NoiseOptions) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows (outer,) whose distances to all others are taken, and their weights (outer,): all, or a seeded draw by weight."""
    if not _is_sampled(len(probabilities), options):
        return np.arange(len(probabilities)), probabilities
    draws = np.random.default_rng(options.seed).multinomial(options.outer_rows, probabilities)
    return np.flatnonzero(draws), draws[draws > 0] / options.outer_rows


def _is_sampled(num_rows: int, options: NoiseOptions) -> bool:
    return 0 < options.outer_rows < num_rows


def noise_curve(
    rows: Tensor, weights: NDArray[np.number], options: NoiseOptions, on_progress: OnProgress = ignore_progress
) -> NoiseCurve:
    """Bounds on I(S; h + sigma * scale * Z) for rows that stand for distinct outcomes of S.

    Args:
        rows: (row, dimension), finite, on the device that computes.
        weights: (row,) non-negative; normalised here. Rows of weight 0 do not take part.
        options: their ``sigmas``, ``scale``, ``outer_rows`` and ``seed`` are used.
        on_progress: called with rows whose distances are taken.

    Raises:
        InputError: rows and weights of different length, a negative weight, or none above 0.
    """
    if len(rows) != len(weights) or not np.all(weights >= 0) or not np.any(weights > 0):
        raise InputError(f"noise: {len(rows)} rows and {len(weights)} weights; give one weight >= 0 per row, not all 0")
    kept = np.flatnonzero(weights)
    probabilities = weights[kept].astype(np.float64) / float(weights[kept].sum())
    scaled = standardise(rows[torch.from_numpy(kept).to(rows.device)], probabilities, options.scale)
    outer, outer_weights = draw_outer(probabilities, options)
    rates = sorted({1 / (k * sigma**2) for k in (8, 2) for sigma in options.sigmas})
    log_sums = np.zeros((len(outer), len(rates)))
    if scaled.shape[1]:
        log_sums = log_kernel_sums(scaled, probabilities, outer, rates, on_progress)
    values = np.clip(-log_sums, 0.0, -np.log(probabilities[outer])[:, None])  # what rounding in float32 may overstep
    means = outer_weights @ values
    errors = np.zeros_like(means)
    if _is_sampled(len(kept), options):
        errors = np.sqrt(outer_weights @ (values - means) ** 2 / (options.outer_rows - 1))
    lower, upper = ([rates.index(1 / (k * sigma**2)) for sigma in options.sigmas] for k in (8, 2))
    return NoiseCurve(
        sigmas=options.sigmas,
        lower_nats=means[lower],
        upper_nats=means[upper],
        lower_se_nats=errors[lower],
        upper_se_nats=errors[upper],
        entropy_nats=max(0.0, -float(probabilities @ np.log(probabilities))),
        num_rows=len(kept),
        num_outer=len(outer),
        num_dimensions=scaled.shape[1],
    )


def noise_estimate(
    rows: Tensor,
    weights: NDArray[np.number],
    options: NoiseOptions,
    *,
    ceiling_nats: float | None = None,
    ceiling_population_nats: float | None = None,
    on_progress: OnProgress = ignore_progress,
) -> MIEstimate:
    """The noise-resolved information at ``options.sigma`` as an estimate, with the whole curve in its diagnostics.

    ``nats`` is the middle of the certified bounds, ``interval_nats`` the bounds themselves, widened by 1.96 standard
    errors where outer rows were sampled. Arguments and errors as `noise_curve`.
    """
    started = perf_counter()
    curve = noise_curve(rows, weights, options, on_progress)
    at = curve.sigmas.index(options.sigma)
    lower, upper = float(curve.lower_nats[at]), float(curve.upper_nats[at])
    lower_se, upper_se = float(curve.lower_se_nats[at]), float(curve.upper_se_nats[at])
    half_low, half_high = curve.sigma_half
    return MIEstimate(
        estimator="noise",
        nats=(lower + upper) / 2,
        interval_nats=within_ceiling(
            (max(0.0, lower - NORMAL_95 * lower_se), min(curve.entropy_nats, upper + NORMAL_95 * upper_se)), ceiling_nats
        ),
        standard_error_nats=(lower_se + upper_se) / 2,
        ceiling_nats=ceiling_nats,
        ceiling_population_nats=ceiling_population_nats,
        outcome=Outcome.CERTIFIED,
        diagnostics={
            "sigma": options.sigma,
            "sigma_half_low": half_low,
            "sigma_half_high": half_high,
            "num_rows": curve.num_rows,
            "num_outer": curve.num_outer,
            "num_dimensions": curve.num_dimensions,
            "wall_seconds": perf_counter() - started,
            "curve_sigmas": curve.sigmas,
            "curve_low_nats": tuple(np.maximum(0.0, curve.lower_nats - NORMAL_95 * curve.lower_se_nats).tolist()),
            "curve_high_nats": tuple(np.minimum(curve.entropy_nats, curve.upper_nats + NORMAL_95 * curve.upper_se_nats).tolist()),
        },
    )


def measure(spec: EstimatorSpec[NoiseOptions], states: BatchStates, problems: list[Problem], on_progress: OnProgress) -> Measured:
    """The value of each problem's input layer, and the curves of all layers that the problems touch."""
    last_layer = len(states.corpus.listed.macro)
    estimates, pieces = [], []
    for problem in problems:
        estimate = _of_layer(spec.options, states, problem, problem.block, on_progress)
        pieces += _curve_pieces(problem, problem.block, estimate)
        if problem.block + 1 == last_layer:  # no block reads the last layer: its curve goes with the block that writes it
            pieces += _curve_pieces(problem, last_layer, _of_layer(spec.options, states, problem, last_layer, on_progress))
        estimates.append(estimate)
    return Measured(estimates=estimates, pieces=(coordinate("sigma", spec.options.sigmas), *pieces))


def _curve_pieces(problem: Problem, layer: int, estimate: MIEstimate) -> list[Piece]:
    at = ((layer,), (problem.position,), tuple(range(len(estimate.diagnostics["curve_sigmas"]))))
    ends = zip(CURVES[problem.level], ("curve_low_nats", "curve_high_nats"), strict=True)
    return [piece(variable, at, estimate.diagnostics[name]) for variable, name in ends]


def _of_layer(options: NoiseOptions, states: BatchStates, problem: Problem, layer: int, on_progress: OnProgress) -> MIEstimate:
    outcomes = states.distinct_in(layer)
    listed, population = ceilings_at(states.corpus, problem)
    return noise_estimate(
        states.table(layer, outcomes),
        outcomes.counts,
        options,
        ceiling_nats=listed,
        ceiling_population_nats=population,
        on_progress=on_progress,
    )


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
    first_rows = torch.from_numpy(np.unique(classes.x, return_index=True)[1]).to(x.device)
    counts = np.bincount(classes.x, weights=classes.weights)
    ceiling = entropy_nats(counts)
    estimate = noise_estimate(x[first_rows], counts, spec.options, ceiling_nats=ceiling, on_progress=on_progress)
    return replace(estimate, flags=(*estimate.flags, *flags))
