"""The split of sequences into train, validation and test."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ie_store.errors import InputError
from ie_store.estimate.critics.folds import make_folds, table_fold

MASK = 2**64 - 1
GAMMA = 0x9E3779B97F4A7C15
PUBLISHED = {
    0: (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC, 0x1B39896A51A8749B),
    1234567: (6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821),
}
"""First numbers of SplitMix64 by its state at the start."""


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


def test_a_draw_keeps_twelve_bytes_of_a_sequence():
    """Four for its place in each of two splits, and four for that it is tested; shares of a draw are one number."""
    groups = np.arange(10_000, dtype=np.int32)
    split = make_folds(groups, None, 2, 0)
    stores = {}
    for fold in split:
        for side in (fold.train, fold.validation, fold.test):
            for tensor in (side.rows, side.probabilities, fold.test_sequences):
                stores[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            assert side.probabilities.sum().item() == pytest.approx(1)
        assert fold.entries is None
        assert fold.test.rows[fold.test_entries].equal(fold.test_sequences)
    assert sum(stores.values()) <= 12 * len(groups)


@pytest.mark.parametrize("folds", [1, 2, 5])
def test_sequences_that_are_each_a_group_need_no_numbers(folds):
    for short, numbered in zip(make_folds(range(1003), None, folds, 3), make_folds(np.arange(1003), None, folds, 3), strict=True):
        assert short.test_sequences.equal(numbered.test_sequences)
        for side in ("train", "validation", "test"):
            assert getattr(short, side).rows.equal(getattr(numbered, side).rows)


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
        assert fold.test.is_weighted
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


def test_sequences_of_one_group_stay_in_their_order():
    """Thousands of them, since a sort that is not stable keeps the order of a few."""
    groups = np.random.default_rng(2).integers(0, 40, 5000)
    for fold in make_folds(groups, None, 2, 0):
        tested = fold.test_sequences.numpy()
        for group in np.unique(groups[tested]):
            assert (np.diff(tested[groups[tested] == group]) > 0).all()


@pytest.mark.parametrize(("groups", "words"), [(np.arange(49), "at least 50"), (np.zeros(100, int), "distinct sequences")])
def test_too_few_sequences_are_refused(groups, words):
    with pytest.raises(InputError, match=words):
        make_folds(groups, None, 2, 0)


def split_mix_64(state, count):
    """Steele, Lea and Flood 2014, in the words of Vigna's splitmix64.c."""
    numbers = []
    for _ in range(count):
        state = (state + GAMMA) & MASK
        value = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
        numbers.append(value ^ (value >> 31))
    return numbers


@pytest.mark.parametrize("state", PUBLISHED)
def test_the_reference_of_this_test_gives_the_published_numbers(state):
    assert split_mix_64(state, 5) == list(PUBLISHED[state])


@pytest.mark.parametrize("seed", [0, 1, 7, 2**40, 2**63 - 1, 2**63, -1])
@pytest.mark.parametrize("folds", [2, 3])
def test_groups_are_tested_in_the_order_of_split_mix_64(seed, folds):
    hashes = split_mix_64(seed % 2**63 * GAMMA * GAMMA & MASK, 60)
    order = sorted(range(60), key=hashes.__getitem__)
    for number, fold in enumerate(make_folds(np.arange(60), None, folds, seed)):
        tested = order[number * 60 // folds : (number + 1) * 60 // folds]
        assert fold.test.rows.tolist() == tested
        assert fold.validation.rows.tolist() == [group for group in order[::5] if group not in tested]


@given(st.integers(50, 200), st.integers(1, 7), st.integers(0, 2**63 - 1))
def test_every_fifth_group_that_is_not_tested_validates(num_sequences, folds, seed):
    split = make_folds(np.arange(num_sequences), None, folds, seed)
    parts = 3 if folds == 1 else folds
    assert len(split) == folds
    for fold in split:
        tested, validating = len(fold.test.rows), len(fold.validation.rows)
        assert num_sequences // parts <= tested <= -(-num_sequences // parts)
        assert abs(validating - (num_sequences - tested) / 5) < 2
        assert len(fold.train.rows) + validating + tested == num_sequences
        for side in (fold.train, fold.validation, fold.test):
            assert side.num_sequences == len(side.rows)
            assert side.probabilities.dtype == torch.float64
            assert side.probabilities.sum().item() == pytest.approx(1)
            assert not side.is_weighted


@given(st.integers(60, 200), st.integers(2, 6), st.integers(0, 99))
def test_every_side_of_a_table_has_the_shares_of_its_own_sequences(num_sequences, folds, seed):
    rng = np.random.default_rng(seed)
    rows, groups = rng.integers(0, 9, num_sequences), rng.integers(0, 40, num_sequences)
    table, dense = make_folds(groups, rows, folds, seed), make_folds(groups, None, folds, seed)
    for fold, same in zip(table, dense, strict=True):
        assert fold.test_sequences.equal(same.test_sequences)
        for side in ("train", "validation", "test"):
            ours = getattr(fold, side)
            members = np.isin(groups, groups[getattr(same, side).rows.numpy()])
            found, counts = np.unique(rows[members], return_counts=True)
            assert ours.rows.tolist() == found.tolist()
            assert np.allclose(ours.probabilities, counts / counts.sum())
            assert (ours.num_sequences, ours.is_weighted) == (members.sum(), True)


def test_names_of_groups_do_not_matter():
    groups = np.repeat(np.arange(30), 3)
    named, renamed = (make_folds(numbers, None, 2, 5)[0] for numbers in (groups, groups * 1000 - 7))
    assert named.test.rows.equal(renamed.test.rows)


@pytest.mark.parametrize(
    ("num_sequences", "num_groups", "folds", "fits"),
    [
        (50, 50, 2, True),
        (49, 49, 2, False),
        (60, 10, 2, True),
        (60, 9, 2, False),
        (60, 10, 5, True),
        (60, 11, 6, False),
        (60, 12, 6, True),
        (60, 10, 1, True),
        (60, 9, 1, False),
    ],
)
def test_the_fewest_that_can_be_split(num_sequences, num_groups, folds, fits):
    groups = np.arange(num_sequences) % num_groups
    if fits:
        assert len(make_folds(groups, None, folds, 0)) == folds
        return
    number, words = (num_sequences, "sequences are too few") if num_sequences < 50 else (num_groups, f"for {folds} folds")
    with pytest.raises(InputError, match=f"{number} .*{words}"):
        make_folds(groups, None, folds, 0)


def test_a_population_table_has_no_test_sequences_and_its_three_sides_are_one():
    fold = table_fold(np.array([2.0, 0.0, 1.0, 1.0]))
    assert fold.train is fold.validation is fold.test
    assert (fold.test.num_sequences, fold.test.is_weighted, fold.test.is_whole) == (3, True, True)
    assert fold.to(torch.device("meta")).train.is_whole
    assert len(fold.test_sequences) == len(fold.test_entries) == 0


def test_a_table_that_is_split_is_not_its_population():
    fold = make_folds(np.arange(60), np.arange(60) % 5, 2, 0)[0]
    assert [side.is_whole for side in (fold.train, fold.validation, fold.test)] == [False] * 3


def test_a_fold_moves_whole():
    fold = make_folds(np.arange(60), None, 2, 0)[0]
    moved = fold.to(torch.device("meta"))
    assert {side.rows.device.type for side in (moved.train, moved.validation, moved.test)} == {"meta"}
    assert moved.test_sequences.equal(fold.test_sequences)
    assert moved.test.num_sequences == fold.test.num_sequences
