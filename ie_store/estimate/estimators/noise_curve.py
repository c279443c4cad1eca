"""Noise-resolved information I(S; h + sigma * scale * Z) over the listed outcomes S, without training.

Y = h_S + sigma * scale * Z is a mixture of Gaussians whose parts and weights are known, so the posterior of every outcome
given y is exact, and I(S; Y) = H(S) - E_y[H(S|y)] needs only the mean of an entropy that lies in [0, ln N]: drawn, and given
the interval of `bernstein`. The same posteriors give what Y tells of every shorter prefix and of every token.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.errors import InputError
from ie_store.estimate.estimators.bernstein import BoundedMean, bounded_mean, constant, look_sizes
from ie_store.estimate.estimators.noise_outcomes import Outcomes, make_outcomes, varying
from ie_store.estimate.estimators.posterior import entropy_spans, posterior_entropies
from ie_store.estimate.exact.past import Past
from ie_store.estimate.stored_rows import ChosenRows, Room, StoredRows, as_rows
from ie_store.estimator_options import NoiseOptions
from ie_store.options import OnProgress, Progress, ignore_progress
from ie_store.prefixes import entropy_nats
from ie_store.specs import NATS_PER_BIT

MANY_OUTCOMES = 20_000
TOLERANCE_BITS = {False: 0.05, True: 0.1}
"""The default half-width, by whether there are more than `MANY_OUTCOMES`."""
Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Information:
    """Information in nats (quantity,), each with an interval that holds by itself."""

    nats: Values
    low: Values
    high: Values
    standard_error: Values


@dataclass(frozen=True, kw_only=True)
class PastInformation:
    """What is left of the past, at one noise level."""

    prefix: Information
    """(position,) about the prefix that ends there"""
    token: Information
    """(position,) about the token there"""
    psi: Information
    """(1,) about the whole, minus that about each token: what they tell only together, less what they tell twice"""


@dataclass(frozen=True, kw_only=True)
class NoiseCurve:
    """What is left over the noise levels."""

    sigmas: tuple[float, ...]
    left: Information
    """(sigma,)"""
    pasts: tuple[PastInformation, ...]
    """At ``options.sigma``, then at each of ``options.map_sigmas``; none where the past is not known."""
    entropy_nats: float
    """The value without noise."""
    num_rows: int
    num_draws: int
    num_dimensions: int
    """Dimensions with variance."""

    @property
    def past(self) -> PastInformation | None:
        """What is left of the past at the level that is shown."""
        return self.pasts[0] if self.pasts else None

    def at_sigma(self, sigma: float) -> Information:
        """What is left at one of the noise levels, (1,)."""
        at = slice(self.sigmas.index(sigma), self.sigmas.index(sigma) + 1)
        left = self.left
        return Information(nats=left.nats[at], low=left.low[at], high=left.high[at], standard_error=left.standard_error[at])

    @property
    def sigma_half(self) -> tuple[float, float, float]:
        """Sigma at which half of ``entropy_nats`` is left, and its interval (value, low, high).

        Interpolated linearly in ln(sigma). Outside the noise levels the interval is open: 0 on the low side, infinity on the
        high side. NaN where there is no information to halve.
        """
        if self.entropy_nats == 0.0:
            return float("nan"), float("nan"), float("nan")
        half = self.entropy_nats / 2
        value, low, high = (_crossing(self.sigmas, curve, half) for curve in (self.left.nats, self.left.low, self.left.high))
        return value, (low if np.isfinite(low) else self.sigmas[-1]), (high if high > 0 else self.sigmas[0])


def _crossing(sigmas: tuple[float, ...], curve: Values, level: float) -> float:
    """Sigma at which ``curve`` (sigma,), taken as falling, reaches ``level``: 0 if it starts below, infinity if it ends above."""
    falling = np.minimum.accumulate(curve)
    if falling[0] < level:
        return 0.0
    if falling[-1] > level:
        return float("inf")
    return float(np.exp(np.interp(-level, -falling, np.log(sigmas))))


def noise_curve(
    rows: Tensor | StoredRows,
    weights: NDArray[np.number],
    options: NoiseOptions,
    *,
    error: float = 0.05,
    past: Past | None = None,
    room: Room | None = None,
    on_progress: OnProgress = ignore_progress,
) -> NoiseCurve:
    """I(S; h + sigma * scale * Z) at every sigma, for rows that stand for distinct outcomes of S.

    Drawing ends when the interval at ``options.sigma`` is as narrow as wanted, or at ``options.max_draws``.

    Args:
        rows: (row, dimension), finite, on the device that computes.
        weights: (row,) non-negative; normalised here. Rows of weight 0 do not take part.
        options: noise levels, scale, tolerance, most draws and seed.
        error: probability, at most, that an interval misses; of each sigma by itself.
        past: what the rows, all of positive weight, stand for; gives ``pasts``.
        room: where their float32 states are kept; None for memory.
        on_progress: called with states drawn.

    Raises:
        InputError: rows and weights of different length, a negative weight, or none above 0.
    """
    if len(rows) != len(weights) or not np.all(weights >= 0) or not np.any(weights > 0):
        raise InputError(f"noise: {len(rows)} rows and {len(weights)} weights; give one weight >= 0 per row, not all 0")
    kept = np.flatnonzero(weights)
    probabilities = weights[kept].astype(np.float64) / float(weights[kept].sum())
    levels = _levels_of_past(options)
    priors = _with_correlations(_priors(probabilities, len(options.sigmas), len(levels), past), options, past)
    rows = as_rows(rows)
    rows = rows if len(kept) == len(rows) else ChosenRows(rows, torch.from_numpy(kept).to(rows.device))
    columns = varying(rows)
    left, num_draws = constant(priors), 0
    if len(columns):
        outcomes = make_outcomes(rows, columns, probabilities, options.scale, past, room)
        left, num_draws = _draw(outcomes, probabilities, options, error, on_progress)
    whole = slice(0, len(options.sigmas))
    num_positions = 0 if past is None else len(past.tokens)
    pasts = (
        [] if past is None else [_past_information(priors, left, options, number, num_positions) for number in range(len(levels))]
    )
    return NoiseCurve(
        sigmas=options.sigmas,
        left=_information(priors, left, whole),
        pasts=tuple(pasts),
        entropy_nats=float(priors[0]),
        num_rows=len(kept),
        num_draws=num_draws,
        num_dimensions=len(columns),
    )


def tolerance_of(options: NoiseOptions, num_outcomes: int) -> float:
    """The half-width in nats at which drawing ends."""
    return options.tolerance or TOLERANCE_BITS[num_outcomes > MANY_OUTCOMES] * NATS_PER_BIT


def _draw(
    outcomes: Outcomes, probabilities: Values, options: NoiseOptions, error: float, on_progress: OnProgress
) -> tuple[BoundedMean, int]:
    """Entropies left (quantity,), and the number of draws they are from: those of the first look that is narrow enough."""
    chance, strata = torch.Generator().manual_seed(options.seed), np.random.default_rng(options.seed)
    levels = _levels_of_past(options)
    spans = entropy_spans(outcomes, len(options.sigmas), len(levels))
    spans = _with_correlations(spans, options, outcomes.past, largest=True)
    looks = look_sizes(options.max_draws)
    shown, tolerance = options.sigmas.index(options.sigma), tolerance_of(options, len(probabilities))
    found = np.empty((0, len(spans)))
    for size in looks:
        drawn = _one_of_each_stratum(probabilities, size - len(found), strata)
        advance = partial(_advance, on_progress, len(found), size)
        entropies = posterior_entropies(outcomes, drawn, options.sigmas, levels, chance, advance)
        entropies = _with_correlations(entropies, options, outcomes.past)
        found = np.concatenate([found, np.clip(entropies, 0.0, spans)])
        left = bounded_mean(found, spans, error / len(looks))
        if left.half_width[shown] <= tolerance:
            break
    return left, len(found)


def _advance(on_progress: OnProgress, before: int, total: int, done: int) -> None:
    on_progress(Progress(stage="noise", done=before + done, total=total, unit="draws"))


def _one_of_each_stratum(probabilities: Values, size: int, chance: np.random.Generator) -> NDArray[np.int64]:
    """One outcome (stratum,) from each of ``size`` neighbouring sets of outcomes of equal probability; rising."""
    places = (np.arange(size) + chance.random(size)) / size
    return np.minimum(np.searchsorted(np.cumsum(probabilities), places, side="right"), len(probabilities) - 1)


def _levels_of_past(options: NoiseOptions) -> tuple[float, ...]:
    return options.sigma, *options.map_sigmas


def _priors(probabilities: Values, num_sigmas: int, num_of_past: int, past: Past | None) -> Values:
    """Entropies (quantity,) without any state: as `posterior_entropies` orders them."""
    whole = np.full(num_sigmas, entropy_nats(probabilities))
    if past is None:
        return whole
    of_prefix: list[Values] = [probabilities]
    for parents in reversed(past.parents):
        of_prefix.insert(0, np.bincount(parents, weights=of_prefix[0]).astype(np.float64))
    of_token = [np.bincount(token, weights=weights) for token, weights in zip(past.tokens, of_prefix, strict=True)]
    return np.concatenate([whole, num_of_past * [entropy_nats(weights) for weights in (*of_prefix, *of_token)]])


def _with_correlations(entropies: Values, options: NoiseOptions, past: Past | None, *, largest: bool = False) -> Values:
    """Entropies (..., quantity) and, where there is a past, the total correlation of the prefix at each level of past.

    It is the sum of the tokens' entropies without that of the prefix. The latter is at least that of any token, so of the
    ``largest`` possible entropies that of the token with the most is taken off instead.
    """
    if past is None:
        return entropies
    num_sigmas, num_positions, made = len(options.sigmas), len(past.tokens), [entropies]
    for number, sigma in enumerate(_levels_of_past(options)):
        first = num_sigmas + (2 * number + 1) * num_positions
        of_tokens = entropies[..., first : first + num_positions]
        whole = of_tokens.max(axis=-1) if largest else entropies[..., options.sigmas.index(sigma)]
        made.append((of_tokens.sum(axis=-1) - whole)[..., None])
    return np.concatenate(made, axis=-1)


def _information(priors: Values, left: BoundedMean, at: slice) -> Information:
    """Prior entropies minus what is left of them; neither below 0 nor above the prior."""
    most, value, reach = priors[at], (priors - left.value)[at], left.half_width[at]
    return Information(
        nats=np.clip(value, 0.0, most),
        low=np.clip(value - reach, 0.0, most),
        high=np.clip(value + reach, 0.0, most),
        standard_error=left.standard_error[at],
    )


def _past_information(
    priors: Values, left: BoundedMean, options: NoiseOptions, number: int, num_positions: int
) -> PastInformation:
    """What is left of the past at the level of past ``number``."""
    first = len(options.sigmas) + 2 * number * num_positions
    middle, last = first + num_positions, first + 2 * num_positions
    at = slice(len(priors) - len(_levels_of_past(options)) + number, None)
    psi, reach, error = (left.value - priors)[at][:1], left.half_width[at][:1], left.standard_error[at][:1]
    return PastInformation(
        prefix=_information(priors, left, slice(first, middle)),
        token=_information(priors, left, slice(middle, last)),
        psi=Information(nats=psi, low=psi - reach, high=psi + reach, standard_error=error),
    )
