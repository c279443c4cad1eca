"""From a value to its outcome: every outcome, both sides of every threshold, and what wins where several apply."""

import math

import pytest

from ie_store.estimate.critics.held_out import Combined
from ie_store.estimate.critics.outcome import classify
from ie_store.estimate.emergence import FROM_BEST_TO_WORST
from ie_store.specs import NORMAL_95, Outcome

NUM_TEST = 1000
LIMIT = 0.85 * math.log(NUM_TEST)
SLIGHTLY = 1e-9


def judged(nats=2.0, *, error=0.0, swing=0.0, fold_nats=(1.9, 2.1), **changed):
    combined = Combined(nats=nats, standard_error_nats=error, reach=NORMAL_95, fold_nats=fold_nats, fold_error_nats=swing)
    given = {
        "is_bound": True,
        "ceiling_nats": None,
        "ceiling_population_nats": None,
        "num_test": NUM_TEST,
        "is_weighted": False,
        "still_rising": False,
        "diagnostics": {},
    }
    return classify("mine", combined, **(given | changed))


def test_a_plain_value_converged_and_has_no_flags():
    found = judged(2.0, error=0.1, ceiling_nats=3.0, ceiling_population_nats=4.0, diagnostics={"steps": 7})
    assert (found.outcome, found.flags, found.nats) == (Outcome.CONVERGED, (), 2.0)
    assert (found.estimator, found.standard_error_nats, found.diagnostics) == ("mine", 0.1, {"steps": 7})
    assert (found.ceiling_nats, found.ceiling_population_nats) == (3.0, 4.0)
    assert not found.outcome.flagged


@pytest.mark.parametrize(
    ("nats", "outcome"),
    [
        (LIMIT - SLIGHTLY, Outcome.CONVERGED),
        (0.85 * math.log(NUM_TEST), Outcome.CONVERGED),
        (LIMIT + SLIGHTLY, Outcome.SATURATED),
        (math.log(NUM_TEST), Outcome.SATURATED),
    ],
)
def test_saturated_above_85_percent_of_ln_n_test(nats, outcome):
    found = judged(nats)
    assert found.outcome == outcome
    assert bool(found.flags) == (outcome == Outcome.SATURATED)
    assert all(("1000" in flag or "1,000" in flag) and "%" in flag for flag in found.flags)


@pytest.mark.parametrize(
    ("num_references", "words"), [(NUM_TEST - 1, "999 references of 1,000 test rows"), (NUM_TEST, "1,000 test rows")]
)
def test_references_are_named_where_they_are_fewer_than_the_test_rows(num_references, words):
    (flag,) = judged(math.log(NUM_TEST), num_references=num_references).flags
    assert f"of ln({words})" in flag


def test_a_weighted_table_is_never_saturated():
    assert judged(math.log(NUM_TEST), is_weighted=True).outcome == Outcome.CONVERGED


def test_without_test_rows_nothing_is_saturated():
    assert judged(1e9, num_test=0).outcome == Outcome.CONVERGED


def test_two_test_rows_are_the_fewest_of_a_fold():
    assert judged(0.85 * math.log(2) - SLIGHTLY, num_test=2).outcome == Outcome.CONVERGED
    assert judged(0.85 * math.log(2) + SLIGHTLY, num_test=2).outcome == Outcome.SATURATED


@pytest.mark.parametrize(
    ("nats", "outcome"),
    [
        (3.0, Outcome.CONVERGED),
        (3.0 + 1e-5 - SLIGHTLY, Outcome.CONVERGED),
        (3.0 + 1e-5, Outcome.CONVERGED),
        (3.0 + 1e-5 + SLIGHTLY, Outcome.ABOVE_CEILING),
        (30.0, Outcome.ABOVE_CEILING),
    ],
)
def test_above_the_ceiling_by_more_than_rounding(nats, outcome):
    found = judged(nats, ceiling_nats=3.0, is_weighted=True)
    assert found.outcome == outcome
    assert bool(found.flags) == (outcome == Outcome.ABOVE_CEILING)


def test_a_ceiling_of_zero_is_a_ceiling():
    assert judged(1e-4, ceiling_nats=0.0).outcome == Outcome.ABOVE_CEILING
    assert judged(0.0, ceiling_nats=0.0).outcome == Outcome.CONVERGED


@pytest.mark.parametrize("error", [0.0, 0.02, 1.0])
@pytest.mark.parametrize(
    ("beyond", "outcome"), [(-SLIGHTLY, Outcome.CONVERGED), (0.0, Outcome.CONVERGED), (SLIGHTLY, Outcome.DIVERGED)]
)
def test_diverged_below_zero_by_three_standard_errors_and_the_floor(error, beyond, outcome):
    nats = -3 * error - 0.05 - beyond
    found = judged(nats, error=error)
    assert found.outcome == outcome
    assert found.nats == (nats if outcome == Outcome.DIVERGED else 0.0)
    assert bool(found.flags) == (outcome == Outcome.DIVERGED)


@pytest.mark.parametrize("nats", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_diverged_and_is_not_made_zero(nats):
    found = judged(nats, ceiling_nats=3.0)
    assert found.outcome == Outcome.DIVERGED
    assert not math.isfinite(found.nats)
    assert found.flags


@pytest.mark.parametrize(
    ("nats", "swing", "outcome"),
    [
        (4.0, 0.2 - SLIGHTLY, Outcome.CONVERGED),
        (4.0, 0.2, Outcome.CONVERGED),
        (4.0, 0.2 + SLIGHTLY, Outcome.UNSTABLE),
        (0.5, 0.05, Outcome.CONVERGED),
        (0.5, 0.05 + SLIGHTLY, Outcome.UNSTABLE),
        (-0.01, 0.05, Outcome.CONVERGED),
        (-0.01, 0.05 + SLIGHTLY, Outcome.UNSTABLE),
        (-4.0, 0.2, Outcome.CONVERGED),
        (-4.0, 0.2 + SLIGHTLY, Outcome.UNSTABLE),
    ],
)
def test_unstable_where_folds_swing_by_more_than_a_share_and_a_floor(nats, swing, outcome):
    found = judged(nats, swing=swing, error=10.0)
    assert found.outcome == outcome
    assert bool(found.flags) == (outcome == Outcome.UNSTABLE)


def test_still_rising_is_the_step_limit():
    found = judged(still_rising=True)
    assert (found.outcome, found.flags) == (Outcome.STEP_LIMIT, ())
    assert found.outcome.flagged


@pytest.mark.parametrize("nats", [-1e-9, 0.0, 2.0, 3.0, 3.0 + 1e-5, 1e9])
def test_what_bounds_nothing_says_so_however_well_it_looks(nats):
    ceiling = 3.0 if nats < 1e9 else None
    found = judged(nats, is_bound=False, ceiling_nats=ceiling, swing=9.0, still_rising=True)
    assert (found.outcome, found.flags) == (Outcome.NOT_A_BOUND, ())
    assert found.nats == min(max(nats, 0.0), ceiling or nats)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"nats": 3.0 + 1e-5 + SLIGHTLY, "ceiling_nats": 3.0}, Outcome.ABOVE_CEILING),
        ({"nats": 30.0, "ceiling_nats": 3.0, "error": 100.0}, Outcome.ABOVE_CEILING),
        ({"nats": 1e-4, "ceiling_nats": 0.0}, Outcome.ABOVE_CEILING),
        ({"nats": -0.05 - SLIGHTLY}, Outcome.DIVERGED),
        ({"nats": -3 * 0.2 - 0.05 - SLIGHTLY, "error": 0.2}, Outcome.DIVERGED),
        ({"nats": math.nan, "ceiling_nats": 3.0}, Outcome.DIVERGED),
        ({"nats": math.inf, "ceiling_nats": 3.0}, Outcome.DIVERGED),
        ({"nats": -math.inf}, Outcome.DIVERGED),
    ],
)
def test_what_bounds_nothing_is_wrong_where_a_bound_would_be(changes, outcome):
    found, bound = judged(**changes, is_bound=False), judged(**changes, is_bound=True)
    assert found.outcome == bound.outcome == outcome
    assert found.flags == bound.flags != ()
    assert str((found.nats, found.interval_nats)) == str((bound.nats, bound.interval_nats))  # NaN is not equal to itself


@pytest.mark.parametrize(("nats", "error"), [(-0.05, 0.0), (-0.05 + SLIGHTLY, 0.0), (-3 * 0.2 - 0.05, 0.2), (-1e-9, 0.0)])
def test_a_negative_value_of_no_bound_within_its_error_is_zero(nats, error):
    found = judged(nats, error=error, is_bound=False)
    assert (found.nats, found.outcome) == (0.0, Outcome.NOT_A_BOUND)


ALL_WRONG = [
    (Outcome.DIVERGED, {"nats": math.inf}),
    (Outcome.ABOVE_CEILING, {"ceiling_nats": 1.0}),
    (Outcome.NOT_A_BOUND, {"is_bound": False}),
    (Outcome.SATURATED, {"nats": 6.5}),
    (Outcome.UNSTABLE, {"swing": 5.0}),
    (Outcome.STEP_LIMIT, {"still_rising": True}),
]


@pytest.mark.parametrize("worst", range(len(ALL_WRONG)))
def test_the_graver_fault_wins(worst):
    changes = {}
    for _, change in reversed(ALL_WRONG[worst:]):
        changes |= change
    assert judged(**changes).outcome == ALL_WRONG[worst][0]


@pytest.mark.parametrize("nats", [0.0, 1.0, 3.0])
def test_the_interval_is_the_normal_95_percent_one(nats):
    low, high = judged(nats, error=0.001).interval_nats
    assert high == pytest.approx(nats + 1.959964 * 0.001, abs=1e-8)
    if nats:
        assert low == pytest.approx(nats - 1.959964 * 0.001, abs=1e-8)


def test_the_interval_of_a_negative_value_is_that_of_the_value_itself():
    assert judged(-0.04, error=0.02).interval_nats[1] == pytest.approx(-0.04 + 1.959964 * 0.02)


def test_every_outcome_has_an_advice_of_its_own_and_a_rank():
    assert len({outcome.advice for outcome in Outcome}) == len(Outcome)
    assert sorted(FROM_BEST_TO_WORST) == sorted(Outcome)
    assert [outcome for outcome in Outcome if not outcome.flagged] == [Outcome.EXACT, Outcome.CERTIFIED, Outcome.CONVERGED]


@pytest.mark.parametrize(
    ("nats", "changes", "words"),
    [
        (0.9 * math.log(NUM_TEST), {}, "90%"),
        (3.3, {"ceiling_nats": 3.0}, "10%"),
        (5.9, {"ceiling_nats": 3.0}, "97%"),
        (6.6, {"ceiling_nats": 3.0, "is_weighted": True}, "2.2 times"),
        (1.0, {"ceiling_nats": 0.0}, "no information"),
        (-1.0, {"error": 0.2}, " by 5.0 standard errors"),
        (-1.0, {"error": 0.0}, "more than its error"),
        (math.nan, {}, "not a finite"),
        (4.0, {"swing": 1.0, "fold_nats": (3.0, 5.0)}, "50%"),
        (4.0, {"swing": 5.0, "fold_nats": (2.0, 6.0)}, "100%"),
        (4.0, {"swing": 5.0, "fold_nats": (0.0, 8.0)}, "more than the value"),
        (-4.0, {"error": 9.0, "swing": 1.0, "fold_nats": (-5.0, -3.0)}, "50%"),
    ],
)
def test_flags_count_without_a_unit(nats, changes, words):
    (flag,) = judged(nats, **changes).flags
    assert words in flag
    assert "nats" not in flag
    assert "bits" not in flag


def test_no_bound_above_its_ceiling_says_so_too():
    assert judged(9.0, is_bound=False, ceiling_nats=3.0).flags == judged(9.0, ceiling_nats=3.0).flags
    assert judged(2.0, is_bound=False, ceiling_nats=3.0).flags == ()


def test_nothing_shown_lies_above_the_ceiling_but_a_value_that_is_wrong():
    rounded = judged(3.0 + 5e-6, error=0.1, ceiling_nats=3.0)
    assert (rounded.nats, rounded.interval_nats[1]) == (3.0, 3.0)
    assert rounded.interval_nats[0] == pytest.approx(3.0 - 0.1959964, abs=1e-5)
    wrong = judged(4.0, error=0.1, ceiling_nats=3.0)
    assert (wrong.nats, wrong.interval_nats) == (4.0, (0.0, 3.0))
    assert judged(2.0, error=0.1, ceiling_nats=3.0).interval_nats == judged(2.0, error=0.1).interval_nats


@pytest.mark.parametrize(("nats", "shown"), [(-1e-12, 0.0), (0.0, 0.0), (0.5, 0.5), (1e-12, 1e-12)])
def test_only_the_negative_is_shown_as_zero(nats, shown):
    assert judged(nats).nats == shown
