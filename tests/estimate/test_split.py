"""The split of sequences into train, validation and test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ie_store.errors import InputError
from ie_store.estimate.split import make_folds, table_fold


@given(st.integers(60, 300), st.integers(20, 60), st.integers(1, 5), st.integers(0, 10))
def test_groups_stay_on_one_side_and_tests_cover_all(num_sequences, num_groups, folds, seed):
    groups = np.random.default_rng(seed).integers(0, num_groups, num_sequences)
    split = make_folds(groups, None, folds, seed)
    for fold in split:
        sides = [set(groups[side.rows.numpy()]) for side in (fold.train, fold.validation, fold.test)]
        assert sum(len(side) for side in sides) == len(set(groups))
        assert set.union(*sides) == set(groups)
        assert (groups[fold.test.rows[fold.test_entries].numpy()] == groups[fold.test_sequences.numpy()]).all()
        assert sum(side.num_sequences for side in (fold.train, fold.validation, fold.test)) == num_sequences
    if folds > 1:
        tested = np.concatenate([fold.test_sequences.numpy() for fold in split])
        assert sorted(tested) == list(range(num_sequences))


def test_shares_of_the_sides():
    fold, _ = make_folds(np.arange(10_000), None, 2, 0)
    assert [len(side.rows) for side in (fold.train, fold.validation, fold.test)] == [4000, 1000, 5000]
    (fold,) = make_folds(np.arange(9_000), None, 1, 0)
    assert len(fold.test.rows) == 3000


def test_the_same_seed_gives_the_same_split_and_another_another():
    first, again, other = (make_folds(np.arange(500), None, 2, seed)[0].test.rows for seed in (3, 3, 4))
    assert first.equal(again)
    assert not first.equal(other)


def test_the_split_depends_on_groups_alone():
    tokens = np.random.default_rng(0).integers(0, 5, 200)
    dense, table = make_folds(np.arange(200), None, 2, 7)[1], make_folds(np.arange(200), tokens, 2, 7)[1]
    assert dense.test_sequences.equal(table.test_sequences)


def test_a_table_side_has_its_own_probabilities():
    tokens = np.random.default_rng(1).integers(0, 5, 200)
    for fold in make_folds(np.arange(200), tokens, 2, 0):
        drawn = tokens[fold.test_sequences.numpy()]
        assert fold.test.is_table
        assert np.allclose(fold.test.probabilities, np.bincount(drawn, minlength=5) / len(drawn))
        assert (fold.test.rows[fold.test_entries].numpy() == drawn).all()


def test_equal_sequences_are_one_row_with_their_share():
    groups = np.repeat(np.arange(50), 4)
    fold = make_folds(groups, None, 2, 0)[0]
    assert len(fold.test.rows) == 25
    assert np.allclose(fold.test.probabilities, 1 / 25)
    assert fold.test.num_sequences == 100


def test_a_population_table_is_all_sides():
    fold = table_fold(np.array([1.0, 0.0, 3.0]))
    assert fold.test.rows.tolist() == [0, 2]
    assert fold.train.probabilities.tolist() == [0.25, 0.75]


@pytest.mark.parametrize(("groups", "words"), [(np.arange(49), "at least 50"), (np.zeros(100, int), "distinct sequences")])
def test_too_few_sequences_are_refused(groups, words):
    with pytest.raises(InputError, match=words):
        make_folds(groups, None, 2, 0)
