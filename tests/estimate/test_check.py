"""The checks against estimators of known vice: each must pass an honest one and catch its own kind of failure."""

import numpy as np
import pytest
from ie_store_cli.estimate import finite
from known_store import NAME, random_tokens, write_store

from ie_store.errors import InputError
from ie_store.estimate import self_consistency
from ie_store.estimate.check import check
from ie_store.estimators import estimator_spec
from ie_store.options import CheckSpec
from ie_store.specs import MIEstimate, Outcome


def value(nats, error=0.0):
    return MIEstimate(
        estimator="mine", nats=max(0.0, nats), interval_nats=(nats, nats), standard_error_nats=error, ceiling_nats=None,
        ceiling_population_nats=None, outcome=Outcome.CONVERGED, diagnostics={"raw_nats": nats, "num_test": 1000},
    )  # fmt: skip


X = np.zeros((800, 4), np.float32)


def test_null_passes_around_zero_and_fails_beside_it():
    rng = np.random.default_rng(0)
    honest = self_consistency.permutation_null(value(2.0), [value(v) for v in rng.normal(0, 0.02, 19)])
    assert honest.passed
    assert honest.numbers["p_value"] == pytest.approx(1 / 20)
    biased = self_consistency.permutation_null(value(2.0), [value(v) for v in rng.normal(0.9, 0.02, 19)])
    assert not biased.passed
    nothing = self_consistency.permutation_null(value(0.0), [value(v) for v in (-0.1, 0.1, 0.0)])
    assert nothing.numbers["p_value"] == pytest.approx(3 / 4)


def test_learning_curve_fails_while_the_value_grows():
    flat = self_consistency.learning_curve(value(1.0), lambda x, y, seed: value(0.99), X, X, 0)
    growing = self_consistency.learning_curve(value(np.log(800)), lambda x, y, seed: value(np.log(len(x))), X, X, 0)
    assert flat.passed
    assert not growing.passed
    assert growing.numbers["rows_400_nats"] == pytest.approx(np.log(400))


def test_seeds_fail_where_they_disagree():
    assert self_consistency.seeds(value(1.0), lambda x, y, seed: value(1.0 + 0.01 * seed), X, X, 0).passed
    assert not self_consistency.seeds(value(1.0), lambda x, y, seed: value(1.0 + seed), X, X, 0).passed


def test_data_processing_fails_where_processing_adds():
    by_size = self_consistency.data_processing(value(4.0), lambda x, y, seed: value(1.0 * y.shape[1]), X, X, 0)
    inverse = self_consistency.data_processing(value(4.0), lambda x, y, seed: value(16.0 / y.shape[1]), X, X, 0)
    honest = self_consistency.data_processing(value(4.0), lambda x, y, seed: value(min(4.0, y.shape[1])), X, X, 0)
    assert (by_size.passed, inverse.passed, honest.passed) == (False, False, True)


def test_additivity_fails_where_halves_do_not_add_and_does_not_apply_where_they_cannot():
    assert self_consistency.additivity(lambda x, y, seed: value(x.shape[1] / 4), X, X, 0).passed
    assert not self_consistency.additivity(lambda x, y, seed: value(1.0), X, X, 0).passed
    assert self_consistency.additivity(lambda x, y, seed: value(5.0), X, X, 0).passed is None


@pytest.mark.slow
def test_a_whole_check_of_a_store(tmp_path):
    store = write_store(tmp_path / "store", random_tokens(300, kinds=3))
    estimators = tuple(estimator_spec(name) for name in ("cca", "noise", "exact", "mine-paper"))
    found = check(CheckSpec(store=store, name=NAME, estimators=estimators, rows=300, permutations=4))
    assert [verdict.estimator for verdict in found] == ["cca", "noise", "exact", "mine-paper"]
    assert [verdict.believed for verdict in found[1:]] == [True, True, False]
    assert {(f.block, f.answer.check) for f in found[0].findings} == {
        (block, name)
        for block in (0, 1)
        for name in ("permutation null", "learning curve", "seeds", "data processing", "additivity")
    }


def test_a_check_looks_at_one_position(tmp_path):
    store = write_store(tmp_path / "store", random_tokens(60))
    with pytest.raises(InputError, match="one"):
        check(CheckSpec(store=store, name=NAME, position="all"))


def test_few_sequences_are_checked_as_far_as_they_go(tmp_path):
    store = write_store(tmp_path / "store", random_tokens(70, positions=2, kinds=40))
    spec = CheckSpec(store=store, name=NAME, estimators=(estimator_spec("cca"),), blocks="1", permutations=1)
    (verdict,) = check(spec)
    (additivity,) = (finding.answer for finding in verdict.findings if finding.answer.check == "additivity")
    assert additivity.passed is None
    assert "70 rows are too few" in additivity.detail


def test_what_is_no_number_is_none_in_json():
    assert finite({"a": [1.0, float("nan")], "b": (float("inf"), "text"), "c": None}) == {
        "a": [1.0, None],
        "b": [None, "text"],
        "c": None,
    }
