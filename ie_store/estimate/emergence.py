"""Information Emergence from its parts: E(b, t) = macro(b, t) - mean of micro(b, s) over s = 0..t.

The interval says where the exact E lies as far as the parts tell. A trained bound says "at least", however well it
converged: its truth lies between the low end of its interval and its ceiling, and the difference of two lower bounds
is no bound at all. So known ranges (exact, certified, lower bounds, anything up to the ceiling where a value is above it)
combine as intervals do, low minus high. Values that bound nothing have only their sampling intervals, which combine in
quadrature; micro ones are first summed as if they erred together, since they share split and critics. The standard error
combines that way always. No interval ends above the macro term's ceiling: micro terms are not negative.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import hypot
from statistics import fmean

from ie_store.estimate.exact.entropies import within_ceiling
from ie_store.estimators import estimator_row
from ie_store.specs import Emergence, MIEstimate, Outcome, Problem
from ie_store.store.results.estimate_variables import CURVES, Arrays, emergence_pieces, estimates_of, values_of
from ie_store.variables import Flags, Piece, WholeArrays

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
    """Where the exact value lies; None where the estimate bounds nothing. One above its ceiling says no more than that."""
    low, high = estimate.interval_nats
    if estimate.outcome is Outcome.ABOVE_CEILING and estimate.ceiling_nats is not None:
        return 0.0, estimate.ceiling_nats
    if estimate.outcome in (Outcome.EXACT, Outcome.CERTIFIED):
        return low, high
    is_bound = estimator_row(estimate.estimator).guarantee == "lower bound"
    if is_bound and estimate.outcome in HOLDS and estimate.ceiling_nats is not None:
        return min(max(0.0, low), estimate.ceiling_nats), estimate.ceiling_nats
    return None


def _interval(macro: MIEstimate, micro: Sequence[MIEstimate]) -> tuple[float, float]:
    whole, lone = _known_range(macro), [_known_range(estimate) for estimate in micro]
    known = [found for found in lone if found is not None]
    if whole is not None and len(known) == len(lone):
        return whole[0] - fmean(high for _, high in known), whole[1] - fmean(low for low, _ in known)
    value = macro.nats - fmean(estimate.nats for estimate in micro)
    macro_below, macro_above = _reach(macro)
    micro_below, micro_above = (fmean(reach) for reach in zip(*map(_reach, micro), strict=True))
    return value - hypot(macro_below, micro_above), value + hypot(macro_above, micro_below)


def _reach(estimate: MIEstimate) -> tuple[float, float]:
    """From the value down and up to the ends of its interval; the upper one may have been cut off at the ceiling."""
    low, high = estimate.interval_nats
    return max(0.0, estimate.nats - low), max(0.0, high - estimate.nats)


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
        interval_nats=within_ceiling(_interval(macro, micro), macro.ceiling_nats),
        standard_error_nats=hypot(macro.standard_error_nats, fmean(estimate.standard_error_nats for estimate in micro)),
        macro_nats=macro.nats,
        micro_nats=lone,
        ceiling_nats=_difference(macro.ceiling_nats, [e.ceiling_nats for e in micro]) or 0.0,
        ceiling_population_nats=_difference(macro.ceiling_population_nats, [e.ceiling_population_nats for e in micro]),
        outcome=worst([macro.outcome, *(estimate.outcome for estimate in micro)]),
        flags=_flags(macro, micro),
    )


def grid_emergences(arrays: Arrays, flags: Flags, estimator: str) -> dict[tuple[int, int], Emergence]:
    """Emergences by (block, position), rising, where the macro estimate and all its micro estimates are there."""
    estimates = estimates_of(arrays, flags, estimator)
    found: dict[tuple[int, int], Emergence] = {}
    for problem in sorted((p for p in estimates if p.level == "macro"), key=lambda p: (p.block, p.position)):
        block, position = problem.block, problem.position
        lone = [estimates.get(Problem(level="micro", block=block, position=s)) for s in range(position + 1)]
        micro = [estimate for estimate in lone if estimate is not None]
        if len(micro) == len(lone):
            made = emergence(block, position, estimates[problem], micro)
            found[block, position] = replace(made, curve_nats=_curve(arrays, block, position))
    return found


def derive_emergences(estimator: str, arrays: WholeArrays, flags: Flags) -> tuple[list[Piece], Flags]:
    """Pieces and flags of all emergences that the arrays of ``estimator`` give."""
    found = grid_emergences(values_of(arrays), flags, estimator).values()
    return emergence_pieces(found), {f"ie/{e.block}/{e.position}": e.flags for e in found if e.flags}


def _curve(arrays: Arrays, block: int, position: int) -> tuple[tuple[float, float], ...]:
    """Interval of the emergence at each noise level, low minus high of the certified bounds; empty without curves."""
    if any(end.name not in arrays for level in CURVES for end in CURVES[level]):
        return ()
    low, high = (arrays[end.name][block, position] for end in CURVES["macro"])
    lone_low, lone_high = (arrays[end.name][block, : position + 1].sum(axis=0) / (position + 1) for end in CURVES["micro"])
    return tuple(zip((low - lone_high).tolist(), (high - lone_low).tolist(), strict=True))


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
