"""Information Emergence from its parts: E(b, t) = macro(b, t) - mean of micro(b, s) over s = 0..t.

Which way the parts combine depends on what their intervals are. Certified bounds (noise) and exact values combine as
intervals do: low minus high. Sampled intervals combine in quadrature, the micro ones first summed as if they erred
together (they share split and critics), which is wider than if they did not.

A trained value that is known to be loose (saturated, or still rising at the step limit) says "at least", so on its side the
interval goes on to the ceiling.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

from ie_store.specs import Emergence, MIEstimate, Outcome

FROM_BEST_TO_WORST = (
    Outcome.EXACT,
    Outcome.CERTIFIED,
    Outcome.CONVERGED,
    Outcome.STEP_LIMIT,
    Outcome.SATURATED,
    Outcome.UNSTABLE,
    Outcome.NOT_A_BOUND,
    Outcome.ABOVE_CEILING,
    Outcome.DIVERGED,
    Outcome.REFUSED,
)
AT_LEAST = (Outcome.SATURATED, Outcome.STEP_LIMIT)


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome that says most against a value made of all of them."""
    return max(outcomes, key=FROM_BEST_TO_WORST.index)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A value and how far the truth may lie below and above it, in nats."""

    nats: float
    below: float
    above: float


def _spread(estimate: MIEstimate) -> Spread:
    low, high = estimate.interval_nats
    if estimate.outcome in AT_LEAST and estimate.ceiling_nats is not None:
        high = max(high, estimate.ceiling_nats)
    return Spread(nats=estimate.nats, below=estimate.nats - low, above=high - estimate.nats)


def _mean(parts: Sequence[Spread]) -> Spread:
    count = len(parts)
    return Spread(
        nats=sum(part.nats for part in parts) / count,
        below=sum(part.below for part in parts) / count,
        above=sum(part.above for part in parts) / count,
    )


def emergence(block: int, position: int, macro: MIEstimate, micro: Sequence[MIEstimate]) -> Emergence:
    """E(block, position) in nats with its interval, ceilings, worst outcome and all flags.

    Args:
        block: of all estimates.
        position: of ``macro``.
        macro: the estimate of I(h_block; h_block+1) of the prefix that ends at ``position``.
        micro: (position + 1,) the estimates of the lone tokens at positions 0..position.
    """
    whole, lone = _spread(macro), _mean([_spread(estimate) for estimate in micro])
    certified = all(e.outcome in (Outcome.EXACT, Outcome.CERTIFIED) for e in (macro, *micro))
    together = (lambda a, b: a + b) if certified else hypot
    value = whole.nats - lone.nats
    return Emergence(
        estimator=macro.estimator,
        block=block,
        position=position,
        ie_nats=value,
        interval_nats=(value - together(whole.below, lone.above), value + together(whole.above, lone.below)),
        macro_nats=whole.nats,
        micro_nats=lone.nats,
        ceiling_nats=_difference(macro.ceiling_nats, [e.ceiling_nats for e in micro]) or 0.0,
        ceiling_population_nats=_difference(macro.ceiling_population_nats, [e.ceiling_population_nats for e in micro]),
        outcome=worst([macro.outcome, *(estimate.outcome for estimate in micro)]),
        flags=_flags(macro, micro),
        curve_nats=_curve(macro, micro),
    )


def _curve(macro: MIEstimate, micro: Sequence[MIEstimate]) -> tuple[tuple[float, float], ...]:
    """noise: interval of the emergence at each sigma, low minus high of the certified bounds."""
    if "curve_low_nats" not in macro.diagnostics or any("curve_low_nats" not in e.diagnostics for e in micro):
        return ()
    lows = zip(*(e.diagnostics["curve_low_nats"] for e in micro), strict=True)
    highs = zip(*(e.diagnostics["curve_high_nats"] for e in micro), strict=True)
    return tuple(
        (low - sum(micro_high) / len(micro), high - sum(micro_low) / len(micro))
        for low, high, micro_low, micro_high in zip(
            macro.diagnostics["curve_low_nats"], macro.diagnostics["curve_high_nats"], lows, highs, strict=True
        )
    )


def _difference(macro: float | None, micro: Sequence[float | None]) -> float | None:
    known = [value for value in micro if value is not None]
    if macro is None or len(known) < len(micro):
        return None
    return macro - sum(known) / len(known)


def _flags(macro: MIEstimate, micro: Sequence[MIEstimate]) -> tuple[str, ...]:
    flags = [f"macro: {flag}" for flag in macro.flags]
    for position, estimate in enumerate(micro):
        flags += [f"micro, position {position}: {flag}" for flag in estimate.flags]
    if macro.outcome in AT_LEAST and any(estimate.outcome not in AT_LEAST for estimate in micro):
        flags.append(
            f"the macro value is {macro.outcome} and only says 'at least', micro values do not: "
            "read the emergence as 'at least' too"
        )
    return tuple(flags)
