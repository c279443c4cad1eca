"""Emergence from its parts, worked by hand, and how intervals, outcomes and flags enter."""

from math import hypot

import pytest

from ie_store.estimate.emergence import emergence, grid_emergences, worst
from ie_store.specs import MIEstimate, Outcome, Problem
from ie_store.store.results.estimate_variables import CURVES, estimate_pieces, values_of
from ie_store.variables import assemble, piece


def part(nats, low, high, outcome=Outcome.CONVERGED, ceiling=5.0, **changed):
    fields = {
        "estimator": "mine",
        "nats": nats,
        "interval_nats": (low, high),
        "standard_error_nats": 0.1,
        "ceiling_nats": ceiling,
        "ceiling_population_nats": None,
        "outcome": outcome,
    }
    return MIEstimate(**(fields | changed))


def test_values_that_bound_nothing_combine_in_quadrature_and_micro_errs_together():
    broken = Outcome.NOT_A_BOUND
    found = emergence(3, 1, part(4.0, 3.7, 4.2, broken), [part(1.0, 0.9, 1.3, broken), part(2.0, 1.7, 2.1, broken)])
    assert found.ie_nats == pytest.approx(2.5)
    assert found.micro_nats == pytest.approx(1.5)
    assert found.interval_nats[0] == pytest.approx(2.5 - hypot(0.3, (0.3 + 0.1) / 2))
    assert found.interval_nats[1] == pytest.approx(2.5 + hypot(0.2, (0.1 + 0.3) / 2))
    assert found.standard_error_nats == pytest.approx(hypot(0.1, 0.1))
    assert found.ceiling_nats == pytest.approx(0.0)
    assert (found.block, found.position, found.flags) == (3, 1, ())


def test_lower_bounds_leave_their_truth_open_up_to_the_ceiling():
    found = emergence(1, 0, part(3.0, 2.9, 3.1, ceiling=6.4), [part(4.0, 3.9, 4.1, ceiling=6.2)])
    assert found.ie_nats == pytest.approx(-1.0)
    assert found.interval_nats == pytest.approx((2.9 - 6.2, 6.4 - 3.9))
    assert found.interval_nats[0] <= found.ceiling_nats <= found.interval_nats[1]
    assert found.ceiling_nats == pytest.approx(0.2)


@pytest.mark.parametrize("name", ["cca", "smile", "mine-paper"])
def test_what_bounds_nothing_does_not_open_the_interval_up_to_the_ceiling(name):
    macro = part(3.0, 2.9, 3.1, Outcome.NOT_A_BOUND, ceiling=6.4, estimator=name)
    found = emergence(1, 0, macro, [part(4.0, 3.9, 4.1, Outcome.NOT_A_BOUND, ceiling=6.2, estimator=name)])
    assert found.interval_nats == pytest.approx((-1.0 - hypot(0.1, 0.1), -1.0 + hypot(0.1, 0.1)))
    assert found.outcome is Outcome.NOT_A_BOUND


def test_certified_intervals_combine_as_intervals():
    macro, micro = part(3.5, 3.0, 4.0, Outcome.CERTIFIED), part(1.0, 0.5, 1.5, Outcome.CERTIFIED)
    estimates = {Problem(level="macro", block=0, position=1): macro}
    estimates |= {Problem(level="micro", block=0, position=position): micro for position in (0, 1)}
    ends = {"macro": [(1, (3.0, 1.0), (4.0, 2.0))], "micro": [(t, (0.5, 0.0), (1.5, 0.5)) for t in (0, 1)]}
    curves = [
        piece(variable, ((0,), (position,), (0, 1)), values)
        for level, found in ends.items()
        for position, *both in found
        for variable, values in zip(CURVES[level], both, strict=True)
    ]
    arrays = assemble([*estimate_pieces(estimates), *curves], {"block": 1, "layer": 2, "position": 2})
    (found,) = grid_emergences(values_of(arrays), {}, "noise").values()
    assert found.interval_nats == pytest.approx((1.5, 3.5))
    assert found.curve_nats == (pytest.approx((1.5, 3.5)), pytest.approx((0.5, 2.0)))


def test_a_saturated_macro_beside_micro_that_is_not_is_flagged():
    found = emergence(1, 0, part(3.0, 2.9, 3.1, Outcome.SATURATED, ceiling=9.0), [part(1.0, 1.0, 1.0)])
    assert found.outcome is Outcome.SATURATED
    assert "at least" in found.flags[-1]
    both = emergence(1, 0, part(3.0, 2.9, 3.1, Outcome.SATURATED), [part(2.0, 2.0, 2.0, Outcome.SATURATED)])
    assert both.flags == ()


def test_the_worst_outcome_and_all_flags_enter():
    macro = part(3.0, 2.9, 3.1, flags=("a",))
    micro = [part(1.0, 1.0, 1.0, flags=("b",)), part(1.0, 1.0, 1.0, Outcome.DIVERGED)]
    found = emergence(1, 1, macro, micro)
    assert found.outcome is Outcome.DIVERGED
    assert found.flags == ("macro: a", "micro, position 0: b")


def test_every_outcome_has_a_rank():
    for outcome in Outcome:
        assert worst([Outcome.EXACT, outcome]) is outcome
