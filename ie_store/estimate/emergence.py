"""Information Emergence from its parts: E(b, t) = macro(b, t) - mean of micro(b, s) over s = 0..t.

The interval says where the exact E lies as far as the parts tell. A trained bound says "at least", however well it
converged: its truth lies between the low end of its interval and its ceiling, and the difference of two lower bounds
is no bound at all. So known ranges (exact, certified, lower bounds) combine as intervals do, low minus high. Values that
bound nothing have only their sampling intervals, which combine in quadrature; micro ones are first summed as if they
erred together, since they share split and critics. The standard error combines that way always.
"""

from collections.abc import Sequence
from math import hypot
from statistics import fmean

from ie_store.estimators import estimator_row
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
)
AT_LEAST = (Outcome.SATURATED, Outcome.STEP_LIMIT)
HOLDS = (Outcome.CONVERGED, Outcome.UNSTABLE, *AT_LEAST)


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome that says most against a value made of all of them."""
    return max(outcomes, key=FROM_BEST_TO_WORST.index)


def _known_range(estimate: MIEstimate) -> tuple[float, float] | None:
    """Where the exact value lies; None where the estimate bounds nothing."""
    low, high = estimate.interval_nats
    if estimate.outcome in (Outcome.EXACT, Outcome.CERTIFIED):
        return low, high
    if (
        estimator_row(estimate.estimator).guarantee == "lower bound"
        and estimate.outcome in HOLDS
        and estimate.ceiling_nats is not None
    ):
        return max(0.0, low), max(high, estimate.ceiling_nats)
    return None


def _interval(macro: MIEstimate, micro: Sequence[MIEstimate]) -> tuple[float, float]:
    whole, lone = _known_range(macro), [_known_range(estimate) for estimate in micro]
    known = [found for found in lone if found is not None]
    if whole is not None and len(known) == len(lone):
        return whole[0] - fmean(high for _, high in known), whole[1] - fmean(low for low, _ in known)
    value = macro.nats - fmean(estimate.nats for estimate in micro)
    below = fmean(estimate.interval_nats[1] - estimate.nats for estimate in micro)
    above = fmean(estimate.nats - estimate.interval_nats[0] for estimate in micro)
    return value - hypot(macro.nats - macro.interval_nats[0], below), value + hypot(macro.interval_nats[1] - macro.nats, above)


def emergence(block: int, position: int, macro: MIEstimate, micro: Sequence[MIEstimate]) -> Emergence:
    """E(block, position) in nats with its interval, ceilings, worst outcome and all flags.

    Args:
        block: of all estimates.
        position: of ``macro``.
        macro: the estimate of I(h_block; h_block+1) of the prefix that ends at ``position``.
        micro: (position + 1,) the estimates of the lone tokens at positions 0..position.
    """
    lone = fmean(estimate.nats for estimate in micro)
    return Emergence(
        estimator=macro.estimator,
        block=block,
        position=position,
        ie_nats=macro.nats - lone,
        interval_nats=_interval(macro, micro),
        standard_error_nats=hypot(macro.standard_error_nats, fmean(estimate.standard_error_nats for estimate in micro)),
        macro_nats=macro.nats,
        micro_nats=lone,
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
    return macro - fmean(known)


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
