"""Spectrum and neighbours against closed forms, brute force in float64, and the packages that the field uses."""

import json

import numpy as np
import pytest
import torch
from other_packages import ANSWERS, NAMES, known_rows, next_rows

from ie_store.errors import InputError
from ie_store.estimate.profiles.intrinsic_dimension import gride, log_ratios, two_nn
from ie_store.estimate.profiles.nearest import LowerBounds, nearest, ranks_of
from ie_store.estimate.profiles.neighbours import imbalance, overlap
from ie_store.estimate.profiles.spectrum import effective_rank, eigenvalues, is_massive, moments, participation_ratio
from ie_store.profiles import profile_method


def tensor(rows, dtype=np.float64):
    return torch.from_numpy(np.ascontiguousarray(rows.astype(dtype)))


def distances(rows):
    rows = rows.astype(np.float64)
    found = np.sqrt(((rows[:, None] - rows[None]) ** 2).sum(axis=2))
    np.fill_diagonal(found, np.inf)
    return found


def test_gaussian_rows_have_the_spectrum_they_were_drawn_with():
    truth = 2.0 ** -np.arange(12)
    generator = np.random.default_rng(0)
    turned = np.linalg.qr(generator.standard_normal((12, 12)))[0]
    rows = generator.standard_normal((40_000, 12)) * np.sqrt(truth) @ turned + 5
    found = eigenvalues(moments(tensor(rows, np.float32), np.ones(len(rows), dtype=np.int64)))
    assert found == pytest.approx(truth, rel=0.05)
    shares = truth / truth.sum()
    assert effective_rank(found) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=0.01)
    assert participation_ratio(found) == pytest.approx(truth.sum() ** 2 / (truth**2).sum(), rel=0.01)


def test_counts_stand_for_repeated_rows():
    generator = np.random.default_rng(1)
    rows, counts = generator.standard_normal((50, 6)), generator.integers(1, 9, 50)
    repeated = np.repeat(rows, counts, axis=0)
    expected = np.linalg.eigvalsh(np.cov(repeated.T, bias=True))[::-1]
    assert eigenvalues(moments(tensor(rows), counts)) == pytest.approx(expected, rel=1e-12)


def test_moments_of_parts_add_up_to_those_of_the_whole():
    generator = np.random.default_rng(2)
    rows, counts = generator.standard_normal((9000, 5)) + 100, generator.integers(1, 4, 9000)
    parts = moments(tensor(rows[:7]), counts[:7]) + moments(tensor(rows[7:]), counts[7:])
    whole = moments(tensor(rows), counts)
    assert parts.weight == whole.weight
    assert torch.allclose(parts.mean, whole.mean, rtol=1e-13)
    assert torch.allclose(parts.scatter, whole.scatter, rtol=1e-9)


def test_float16_states_near_their_end_do_not_overflow():
    rows = np.random.default_rng(3).choice([-29_000.0, 29_000.0], (500, 4))
    found = eigenvalues(moments(tensor(rows, np.float16), np.ones(500, dtype=np.int64)))
    expected = np.linalg.eigvalsh(np.cov(rows.astype(np.float16).astype(np.float64).T, bias=True))[::-1]
    assert found == pytest.approx(expected, rel=1e-12)


def test_one_direction_has_rank_one_and_nothing_beside_it():
    rows = np.outer(np.random.default_rng(4).standard_normal(300), np.arange(1.0, 9.0))
    found = eigenvalues(moments(tensor(rows), np.ones(300, dtype=np.int64)))
    assert effective_rank(found) == pytest.approx(1, abs=1e-9)
    assert not found[1:].any()
    assert np.isnan(effective_rank(found[1:]))
    assert np.isnan(participation_ratio(found[1:]))


def test_planted_massive_rows_are_found_by_the_median_of_rows_as_listed():
    generator = np.random.default_rng(5)
    rows = generator.standard_normal((1000, 16))
    rows[[3, 500]] *= 100
    assert np.flatnonzero(is_massive(tensor(rows), np.ones(1000, dtype=np.int64), 10)).tolist() == [3, 500]
    mostly = np.where(np.isin(np.arange(1000), [3, 500]), 2000, 1)  # listed so often that they are the usual ones
    assert not is_massive(tensor(rows), mostly, 10).any()


SPREADS = {
    "plain": lambda rows: rows,
    "far from 0": lambda rows: rows + 3000,
    "massive rows": lambda rows: rows * np.where(np.arange(len(rows)) % 100 == 0, 3e4, 1)[:, None],
    "massive dimension": lambda rows: rows + 3e4 * np.eye(rows.shape[1])[0] * (np.arange(len(rows)) % 3)[:, None],
    "nearly equal": lambda rows: rows * 1e-4 + 1,
    "float32 overflows": lambda rows: rows * 1e25,
    "equal rows": lambda rows: np.round(rows / 2),
}


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
def test_neighbours_are_those_of_brute_force_in_float64(spread, dtype):
    rows = SPREADS[spread](np.random.default_rng(6).standard_normal((700, 3))).astype(dtype)
    found, truth = nearest(tensor(rows, dtype), 20), distances(rows)
    assert found.distances == pytest.approx(np.sort(truth, axis=1)[:, :20], rel=1e-12, abs=0)
    rank_one = np.take_along_axis(truth, found.indices, axis=1)
    assert rank_one == pytest.approx(found.distances, rel=1e-12, abs=0)


@pytest.mark.parametrize("spread", sorted(SPREADS.keys() - {"float32 overflows"}))
def test_bounds_lie_below_the_distances_and_not_far(spread):
    rows = SPREADS[spread](np.random.default_rng(11).standard_normal((300, 64))).astype(np.float32)
    every, bounds = torch.arange(300), LowerBounds(tensor(rows, np.float32), torch.float32)
    found = (bounds.less_own(every).double() + bounds.own(every)[:, None]).numpy()
    truth = distances(rows) ** 2
    np.fill_diagonal(truth, 0)
    assert (found <= truth).all()
    norms = np.linalg.norm(rows - np.median(rows, axis=0), axis=1)
    assert (truth - found <= 2e-5 * (norms[:, None] + norms) ** 2 + 1e-12).all()


@pytest.mark.parametrize("spread", ["plain", "massive rows", "far from 0"])
def test_ranks_are_those_of_brute_force_in_float64(spread):
    rows = SPREADS[spread](np.random.default_rng(8).standard_normal((400, 5)))
    truth, targets = distances(rows), np.random.default_rng(9).permutation(np.roll(np.arange(400), 1))
    targets = np.where(targets == np.arange(400), (targets + 1) % 400, targets)
    expected = 1 + (truth < np.take_along_axis(truth, targets[:, None], axis=1)).sum(axis=1)
    assert ranks_of(tensor(rows), nearest(tensor(rows), 10), targets).tolist() == expected.tolist()


def test_more_neighbours_than_rows_are_all_rows():
    found = nearest(tensor(np.array([[0.0], [1.0], [3.0]])), 64)
    assert found.distances.tolist() == [[1, 3], [1, 2], [2, 3]]


def torus(dimension, num, seed=0):
    """Uniform in a cube whose opposite faces are one: no border, small pieces flat."""
    angles = np.random.default_rng(seed).random((num, dimension)) * 2 * np.pi
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def dimension_at(found, k):
    return gride(log_ratios(found.distances[:, k - 1], found.distances[:, 2 * k - 1]), k)


@pytest.mark.parametrize(("dimension", "tolerance"), [(2, 0.04), (5, 0.06), (10, 0.15)])
def test_dimension_of_a_uniform_cube(dimension, tolerance):
    """The border takes something away, more in high dimensions; without one little is missing."""
    found = nearest(tensor(np.random.default_rng(dimension).random((6000, dimension))), 4)
    assert two_nn(log_ratios(*found.distances[:, :2].T), 0.1).value == pytest.approx(dimension, rel=tolerance)
    assert dimension_at(found, 1).value == pytest.approx(dimension, rel=tolerance)
    assert dimension_at(found, 2).value == pytest.approx(dimension, rel=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_dimension_of_a_torus_lies_in_the_interval(dimension):
    inside = 0
    for seed in range(20):
        found = nearest(tensor(torus(dimension, 1500, seed)), 4)
        estimates = two_nn(log_ratios(*found.distances[:, :2].T), 0.1), dimension_at(found, 1), dimension_at(found, 2)
        inside += sum(low <= dimension <= high for _, low, high in estimates)
    assert inside >= 0.8 * 60  # neighbouring rows share neighbours: the likelihood's interval is somewhat too short


def test_ratios_drawn_from_the_density_give_back_the_dimension():
    """m^-d is the k-th of 2k - 1 ordered uniform numbers: Beta(k, k)."""
    generator = np.random.default_rng(10)
    for k in (1, 2, 8, 32):
        for dimension in (0.5, 3.0, 40.0):
            ratios = -np.log(generator.beta(k, k, 20_000)) / dimension
            found = gride(ratios, k)
            assert found.value == pytest.approx(dimension, rel=0.04)
            assert found.low < found.value < found.high


def test_rows_that_are_equal_or_in_lockstep_have_no_dimension():
    for found in (two_nn(np.zeros(100), 0.1), gride(np.zeros(100), 2), two_nn(np.zeros(1), 0.1), gride(np.ones(1), 1)):
        assert np.isnan(found).all()
    assert log_ratios(np.zeros(5), np.ones(5)).tolist() == []


@pytest.mark.parametrize("name", NAMES)
def test_the_packages_of_the_field_find_the_same_within_one_percent(name):
    answers = json.loads(ANSWERS.read_text())[name]
    rows, behind = tensor(known_rows(name)), tensor(next_rows(name))
    found, after = nearest(rows, 64), nearest(behind, 64)
    ratios = log_ratios(*found.distances[:, :2].T)
    assert two_nn(ratios, 0.1).value == pytest.approx(answers["two_nn"], rel=0.01)
    assert two_nn(ratios, 0.0).value == pytest.approx(answers["two_nn_uncensored"], rel=0.01)
    scales = [1, 2, 4, 8, 16, 32]
    estimates = [dimension_at(found, k) for k in scales]
    assert [one.value for one in estimates] == pytest.approx(answers["gride"], rel=0.01)
    assert [(one.high - one.low) / 3.92 for one in estimates] == pytest.approx(answers["gride_error"], rel=0.01)
    assert overlap(found, after, 30) == pytest.approx(answers["overlap"], rel=0.01)
    assert imbalance(behind, after, found) == pytest.approx(answers["imbalance_forward"], rel=0.01)
    assert imbalance(rows, found, after) == pytest.approx(answers["imbalance_backward"], rel=0.01)


def test_identical_and_unrelated_layers():
    rows, other = (tensor(np.random.default_rng(seed).standard_normal((2000, 4))) for seed in (1, 2))
    found, unrelated = nearest(rows, 30), nearest(other, 30)
    assert overlap(found, found, 30) == 1
    assert imbalance(rows, found, found) == pytest.approx(2 / 2000)
    assert overlap(found, unrelated, 30) == pytest.approx(30 / 2000, rel=0.2)
    assert imbalance(other, unrelated, found) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("name", "option", "value", "message"),
    [
        ("spectrum", "eigenvalues", 0, "at least 1"),
        ("spectrum", "massive", 1.0, "above 1"),
        ("spectrum", "massive", float("nan"), "above 1"),
        ("neighbours", "rows", 999, "at least 1000"),
        ("neighbours", "largest_rank", 48, "power of two"),
        ("neighbours", "largest_rank", 256, "at most 128"),
        ("neighbours", "discarded", 0.7, "0 to 0.5"),
        ("neighbours", "seed", -1, "whole number"),
        ("neighbours", "sed", 1, "did you mean 'seed'"),
        ("neighbors", "seed", 1, "did you mean 'neighbours'"),
    ],
)
def test_options_that_cannot_be(name, option, value, message):
    with pytest.raises(InputError, match=message):
        profile_method(name, **{option: value})
