"""From a combined value to an `MIEstimate`: its outcome and the sentences that go with it.

The sentences are read beside bits as well as beside nats, so they count in percentages, ratios and standard errors.
"""

from math import isfinite, log
from typing import Any

from ie_store.estimate.critics.bounds import SATURATED_SHARE
from ie_store.estimate.critics.held_out import Combined
from ie_store.estimate.exact.entropies import within_ceiling
from ie_store.specs import MIEstimate, Outcome

FOLD_ERROR_SHARE = 0.05
FOLD_ERROR_NATS = 0.05
"""Folds and seeds may always swing by this much: near 0, a share of the value means nothing."""
ROUNDING_NATS = 1e-5


def classify(
    name: str,
    combined: Combined,
    *,
    is_bound: bool,
    ceiling_nats: float | None,
    ceiling_population_nats: float | None,
    num_test: int,
    num_references: int | None = None,
    is_weighted: bool,
    still_rising: bool,
    diagnostics: dict[str, Any],
) -> MIEstimate:
    """The estimate, its outcome and flags. A negative value within its error of 0 is reported as 0.

    ``num_references`` are the columns that ``num_test`` test rows were scored against, None for all of them.

    A value that cannot be is wrong whatever the estimator claims of it; what bounds nothing (``is_bound`` False) claims no more
    than `Outcome.NOT_A_BOUND` otherwise.
    """
    nats = combined.nats
    above = _above_ceiling(nats, ceiling_nats)
    flags: tuple[str, ...] = ()
    limit, told_apart = _resolution(num_test, num_references)
    swings = combined.fold_error_nats > max(FOLD_ERROR_SHARE * abs(nats), FOLD_ERROR_NATS)
    outcome = Outcome.CONVERGED
    if not isfinite(nats) or nats < -3 * combined.standard_error_nats - FOLD_ERROR_NATS:
        outcome, flags = Outcome.DIVERGED, (_below_zero(combined),)
    elif above:
        outcome, flags = Outcome.ABOVE_CEILING, above
    elif not is_bound:
        outcome = Outcome.NOT_A_BOUND
    elif not is_weighted and nats > SATURATED_SHARE * limit:
        outcome = Outcome.SATURATED
        flags = (f"the value is {nats / limit:.0%} of ln({told_apart}), the most that they can show",)
    elif swings:
        outcome, flags = Outcome.UNSTABLE, (f"folds and seeds differ by {_spread(combined)}",)
    elif still_rising:
        outcome = Outcome.STEP_LIMIT
    if outcome != Outcome.DIVERGED and nats < 0:
        nats = 0.0
    if ceiling_nats is not None and not above:
        nats = min(nats, ceiling_nats)  # above it by no more than rounding
    return MIEstimate(
        estimator=name,
        nats=nats,
        interval_nats=_interval(combined, above, ceiling_nats),
        standard_error_nats=combined.standard_error_nats,
        ceiling_nats=ceiling_nats,
        ceiling_population_nats=ceiling_population_nats,
        outcome=outcome,
        flags=flags,
        diagnostics=diagnostics,
    )


def _resolution(num_test: int, num_references: int | None) -> tuple[float, str]:
    """The most that test rows can show, in nats, and what they are told apart from, for people."""
    if num_references is not None and num_references < num_test:
        return log(num_references), f"{num_references:,} references of {num_test:,} test rows"
    return (log(num_test) if num_test else float("inf")), f"{num_test:,} test rows"


def _interval(combined: Combined, above: tuple[str, ...], ceiling_nats: float | None) -> tuple[float, float]:
    """The 95% interval, ending at the ceiling; a value above its ceiling is wrong and leaves everything up to it open."""
    return (0.0, ceiling_nats) if above and ceiling_nats is not None else within_ceiling(combined.interval_nats, ceiling_nats)


def _above_ceiling(nats: float, ceiling_nats: float | None) -> tuple[str, ...]:
    """The sentence of a value that is larger than the exact one by more than rounding; none of any other."""
    if ceiling_nats is None or not nats > ceiling_nats + ROUNDING_NATS:
        return ()
    if ceiling_nats < ROUNDING_NATS:
        return ("the rows as listed share no information, and the value says that they do",)
    ratio = nats / ceiling_nats
    how_far = f"{100 * (ratio - 1):.2g}% above" if ratio < 1.995 else f"{ratio:,.1f} times"
    return (f"the value is {how_far} the exact value of the rows as listed",)


def _below_zero(combined: Combined) -> str:
    if not isfinite(combined.nats):
        return "the test value is not a finite number"
    if combined.standard_error_nats == 0.0:
        return "the test value is negative by more than its error"
    return f"the test value is negative by {-combined.nats / combined.standard_error_nats:,.1f} standard errors"


def _spread(combined: Combined) -> str:
    spread = max(combined.fold_nats) - min(combined.fold_nats)
    return f"{spread / abs(combined.nats):.0%} of the value" if spread <= abs(combined.nats) else "more than the value itself"
