"""From a combined value to an `MIEstimate`: its outcome and the sentences that go with it."""

from math import isfinite, log
from typing import Any

from ie_store.estimate.bounds import SATURATED_SHARE
from ie_store.estimate.evaluate import Combined
from ie_store.specs import MIEstimate, Outcome

SWING_SHARE = 0.05
SWING_NATS = 0.05
"""Folds and seeds may always swing by this much: near 0, a share of the value means nothing."""
ROUNDING_NATS = 1e-5


def judge(
    name: str,
    combined: Combined,
    *,
    is_bound: bool,
    ceiling_nats: float | None,
    ceiling_population_nats: float | None,
    num_test: int,
    is_table: bool,
    still_rising: bool,
    diagnostics: dict[str, Any],
) -> MIEstimate:
    """The estimate, its outcome and flags. A negative value within its error of 0 is reported as 0."""
    nats = combined.nats
    ceiling = float("inf") if ceiling_nats is None else ceiling_nats
    flags = []
    limit = log(num_test) if num_test else float("inf")
    swings = combined.swing_nats > max(SWING_SHARE * abs(nats), SWING_NATS)
    outcome = Outcome.CONVERGED
    if not is_bound:
        outcome = Outcome.NOT_A_BOUND
    elif not isfinite(nats) or nats < -3 * combined.standard_error_nats - SWING_NATS:
        outcome = Outcome.DIVERGED
        flags.append(f"the test value is {nats:.4g} nats, below 0 by more than its error")
    elif nats > ceiling + ROUNDING_NATS:
        outcome = Outcome.ABOVE_CEILING
        flags.append(f"the value {nats:.4g} nats is above the exact {ceiling:.4g} nats of the rows as listed")
    elif not is_table and nats > SATURATED_SHARE * limit:
        outcome = Outcome.SATURATED
        flags.append(f"the value {nats:.4g} nats is more than 85% of ln({num_test} test rows) = {limit:.4g}")
    elif swings:
        outcome = Outcome.UNSTABLE
        flags.append(f"folds and seeds give {', '.join(f'{value:.4g}' for value in combined.fold_nats)} nats")
    elif still_rising:
        outcome = Outcome.STEP_LIMIT
    if outcome != Outcome.DIVERGED and nats < 0:
        nats = 0.0
    low, high = combined.interval_nats
    return MIEstimate(
        estimator=name,
        nats=nats,
        interval_nats=(low, high),
        standard_error_nats=combined.standard_error_nats,
        ceiling_nats=ceiling_nats,
        ceiling_population_nats=ceiling_population_nats,
        outcome=outcome,
        flags=tuple(flags),
        diagnostics=diagnostics,
    )
