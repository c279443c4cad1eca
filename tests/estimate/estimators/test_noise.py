"""Noise-resolved information against quadrature, an independent sampler, proven bounds, and closed forms."""

import numpy as np
import pytest
import torch
from known_posterior import entropy, information, pairwise_bounds, posteriors, quadrature

from ie_store.errors import InputError
from ie_store.estimate.estimators.bernstein import bounded_mean, half_width, look_sizes
from ie_store.estimate.estimators.noise import noise_estimate
from ie_store.estimate.estimators.noise_curve import noise_curve
from ie_store.estimator_options import NoiseOptions
from ie_store.specs import NATS_PER_BIT, Outcome

SPEC = NoiseOptions(max_draws=4096)


def options(sigma=1.0, **changes):
    return NoiseOptions(sigmas=(sigma,), sigma=sigma, **changes)


def curve_of(rows, weights=None, spec=SPEC, **changes):
    rows = torch.as_tensor(np.asarray(rows))
    return noise_curve(rows, np.ones(len(rows)) if weights is None else weights, spec, **changes)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
@pytest.mark.parametrize(
    ("rows", "weights"), [([-1, 1], [1, 1]), ([0, 1], [1, 9]), ([0, 1, 5], [2, 1, 1]), ([0, 0.5, 1, 4], [1, 2, 3, 4])]
)
def test_equals_quadrature_of_few_outcomes_in_one_dimension(rows, weights, sigma):
    rows = np.array(rows, np.float64)[:, None]
    found = curve_of(rows, np.array(weights), options(sigma, tolerance=0.01)).left
    truth = quadrature(rows, np.array(weights), sigma)
    assert found.low[0] <= truth <= found.high[0]
    assert abs(found.nats[0] - truth) < 4 * found.standard_error[0] + 1e-6


def trial(number):
    """A problem of random size, dimension, noise and weights."""
    rng = np.random.default_rng(number)
    num_rows, dimensions = int(rng.integers(2, 60)), int(rng.integers(1, 12))
    rows = rng.standard_normal((num_rows, dimensions)) * rng.uniform(0.1, 3, (num_rows, 1))
    return rows, rng.integers(1, 6, num_rows), float(rng.uniform(0.3, 4)), rng


def test_covers_an_independent_reading_and_lies_between_the_pairwise_bounds():
    missed = 0
    for number in range(20):
        rows, weights, sigma, rng = trial(number)
        found = curve_of(rows, weights, options(sigma, tolerance=0.05, seed=number)).left
        truth, error = information(rows, weights, sigma, rng, 20_000)
        lower, upper = pairwise_bounds(rows, weights, sigma)
        assert lower <= found.high[0], number
        assert found.low[0] <= upper, number
        assert lower - 4 * found.standard_error[0] - 1e-6 <= found.nats[0] <= upper + 4 * found.standard_error[0] + 1e-6, number
        assert abs(found.nats[0] - truth) < 5 * np.hypot(found.standard_error[0], error) + 1e-6, number
        missed += not found.low[0] - 4 * error <= truth <= found.high[0] + 4 * error
    assert missed <= 1


@pytest.mark.parametrize("scale", ["std", "rms"])
@pytest.mark.parametrize("offset", [0.0, 3000.0])
def test_agrees_with_the_independent_reading_at_every_sigma(scale, offset):
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((300, 24)) * rng.uniform(0.1, 30, 24) + offset).astype(np.float32)
    weights = rng.integers(1, 9, 300)
    found = curve_of(rows, weights, NoiseOptions(scale=scale, max_draws=8192))
    for index, sigma in enumerate(found.sigmas):
        truth, error = information(rows, weights, sigma, rng, 4000, scale)
        assert abs(found.left.nats[index] - truth) < 4 * np.hypot(found.left.standard_error[index], error) + 1e-5


def both_precisions(rows, spec, monkeypatch):
    fast = curve_of(rows, None, spec).left.nats
    monkeypatch.setattr("ie_store.estimate.estimators.posterior.FLOAT32_ERROR", 0.0)
    return fast, curve_of(rows, None, spec).left.nats


@pytest.mark.parametrize("far", [0.0, 1e3, 1e5])
def test_float32_costs_less_than_a_ten_thousandth_of_a_nat(far, monkeypatch):
    """Also where a few rows of massive activation lie far from the rest, and close to each other."""
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((2000, 256)).astype(np.float32)
    rows[1000:] = rows[:1000] + 0.15 * rng.standard_normal((1000, 256)).astype(np.float32)  # near neighbours at every sigma
    rows[:8] += np.float32(far)
    spec = NoiseOptions(sigmas=(0.1, 0.5, 1.0, 4.0, 16.0), sigma=4.0, scale="rms", max_draws=1024)
    fast, slow = both_precisions(rows, spec, monkeypatch)
    assert fast.dtype == np.float64
    np.testing.assert_allclose(fast, slow, atol=1e-4)


def test_rows_of_massive_activation_are_told_apart_as_they_should():
    """Eight rows 1e3 noise units away, pairwise one noise unit apart: beside the rest they are a problem of their own."""
    rng = np.random.default_rng(2)
    near, far = rng.standard_normal((400, 16)), rng.standard_normal((8, 16))
    rows = np.concatenate([near, far + 1e3])
    found = curve_of(rows, None, NoiseOptions(sigmas=(0.02,), sigma=0.02, tolerance=0.02))
    truth, error = information(rows, np.ones(408), 0.02, rng, 4000)
    assert abs(found.left.nats[0] - truth) < 4 * np.hypot(found.left.standard_error[0], error) + 1e-4


@pytest.mark.parametrize("sigmas", [(0.5, 1.0, 2.0, 4.0, 8.0, 16.0), (1.0,)])
def test_tiles_of_any_size_give_the_same(sigmas, monkeypatch):
    rows = np.random.default_rng(3).standard_normal((700, 12)) * 2
    spec = NoiseOptions(sigmas=sigmas, sigma=sigmas[-1], max_draws=1024)
    whole = curve_of(rows, None, spec).left.nats
    monkeypatch.setattr("ie_store.estimate.estimators.posterior.TILE", {"cpu": (64, 256)})
    np.testing.assert_allclose(curve_of(rows, None, spec).left.nats, whole, atol=2e-6)


def test_small_noise_returns_the_entropy_and_large_noise_nothing():
    rows = np.random.default_rng(2).standard_normal((500, 32))
    found = curve_of(rows, None, NoiseOptions(sigmas=(1e-3, 4.0, 1e4), max_draws=4096)).left
    assert found.nats[0] == pytest.approx(np.log(500), abs=1e-5)
    assert found.low[2] <= 0 <= found.high[2]
    assert found.nats[2] < 1e-5
    assert np.all(np.diff(found.nats) < 0)


def test_the_names_of_outcomes_do_not_matter():
    rng = np.random.default_rng(9)
    rows, weights = rng.standard_normal((200, 20)), rng.integers(1, 5, 200)
    order = rng.permutation(200)
    first, second = curve_of(rows, weights).left, curve_of(rows[order], weights[order]).left
    assert np.all(np.abs(first.nats - second.nats) <= 5 * np.hypot(first.standard_error, second.standard_error) + 1e-6)
    assert np.all((first.low <= second.high) & (second.low <= first.high))


def test_weights_equal_copies():
    """A row with weight w is w outcomes that nothing tells apart."""
    rng = np.random.default_rng(3)
    rows, counts = rng.standard_normal((60, 8)).astype(np.float32), rng.integers(0, 5, 60)
    table, copies = curve_of(rows, counts), curve_of(np.repeat(rows, counts, axis=0))
    assert table.num_rows == np.count_nonzero(counts)
    error = np.hypot(table.left.standard_error, copies.left.standard_error)
    assert np.all(np.abs(table.left.nats - copies.left.nats) < 5 * error + 1e-5)


@pytest.mark.parametrize("rows", [np.full((80, 5), 0.1, np.float16), np.full((1, 5), 3.0, np.float32)])
def test_a_constant_slab_has_exactly_nothing(rows):
    estimate = noise_estimate(torch.from_numpy(rows), np.ones(len(rows)), SPEC)
    assert estimate.nats == 0.0
    assert estimate.interval_nats == (0.0, 0.0)
    assert estimate.outcome is Outcome.CERTIFIED


def test_dimensions_without_variance_are_dropped():
    rows = np.random.default_rng(4).standard_normal((90, 6)).astype(np.float32)
    padded = np.concatenate([rows, np.full((90, 2), 7.0, np.float32)], axis=1)
    bare, wide = curve_of(rows), curve_of(padded)
    assert (bare.num_dimensions, wide.num_dimensions) == (6, 6)
    np.testing.assert_array_equal(bare.left.nats, wide.left.nats)


def test_more_dimensions_than_outcomes_are_turned_into_their_span():
    rng = np.random.default_rng(10)
    rows = rng.standard_normal((12, 300))
    found = curve_of(rows, None, options(4.0, tolerance=0.02)).left
    truth, error = information(rows, np.ones(12), 4.0, rng, 10_000)
    assert abs(found.nats[0] - truth) < 4 * np.hypot(found.standard_error[0], error)


def test_two_runs_give_the_same_bits_and_other_seeds_others():
    rows = np.random.default_rng(5).standard_normal((1000, 40)).astype(np.float16)
    first, second, other = (curve_of(rows, None, NoiseOptions(max_draws=1024, seed=seed)) for seed in (0, 0, 1))
    assert first.left.nats.tobytes() == second.left.nats.tobytes()
    assert first.left.nats.tobytes() != other.left.nats.tobytes()


def test_drawing_ends_when_the_interval_is_as_narrow_as_wanted():
    rows = np.random.default_rng(6).standard_normal((300, 12))
    wide, narrow, short = (
        curve_of(rows, None, NoiseOptions(**changes))
        for changes in ({"tolerance": 0.2}, {"tolerance": 0.03}, {"tolerance": 0.001, "max_draws": 2048})
    )
    for found, tolerance in ((wide, 0.2), (narrow, 0.03)):
        assert (found.left.high - found.left.low)[3] <= 2 * tolerance
        assert found.num_draws in look_sizes(65_536)
    assert wide.num_draws < narrow.num_draws < 65_536
    assert short.num_draws == 2048


def test_the_default_tolerance_is_a_twentieth_of_a_bit():
    found = curve_of(np.random.default_rng(6).standard_normal((300, 12)), None, NoiseOptions())
    assert (found.left.high - found.left.low)[3] <= 2 * 0.05 * NATS_PER_BIT


def test_looks_double_and_end_at_the_most():
    assert look_sizes(65_536) == (1024, 2048, 4096, 8192, 16_384, 32_768, 65_536)
    assert look_sizes(100) == (100,)
    assert look_sizes(5000) == (1250, 2500, 5000)


def test_the_interval_is_the_published_one():
    """Maurer and Pontil 2009, theorem 4, once for each side."""
    draws = np.random.default_rng(0).random((100, 1)) * 3
    found = bounded_mean(draws, np.array([3.0]), 0.05)
    log_term = np.log(2 / 0.025)
    one_sided = np.sqrt(2 * np.var(draws / 3, ddof=1) * log_term / 100) + 7 * log_term / (3 * 99)
    assert found.half_width[0] == pytest.approx(3 * one_sided)
    assert half_width(0.0, 2, 1.0, 0.05) > 1  # two draws say nothing


def test_one_draw_from_each_stratum_is_covered_too():
    """Independent variables of different expectations: the interval covers the mean of those."""
    rng = np.random.default_rng(1)
    means = np.linspace(0.05, 0.95, 200)
    missed = 0
    for _ in range(400):
        found = bounded_mean((rng.random(200) < means).astype(float)[:, None], np.ones(1), 0.05)
        missed += abs(found.value[0] - means.mean()) > found.half_width[0]
    assert missed <= 20


@pytest.mark.slow
def test_intervals_cover_in_most_seeds_stopping_included():
    """One problem, 300 seeds, an error of 0.5: far more than half of the intervals hold."""
    rows, weights, sigma, rng = trial(5)
    truth, error = information(rows, weights, sigma, rng, 1_000_000)
    missed = 0
    for seed in range(300):
        found = curve_of(rows, weights, options(sigma, tolerance=0.04, seed=seed), error=0.5).left
        missed += not found.low[0] - 3 * error <= truth <= found.high[0] + 3 * error
    assert missed <= 150


def test_sigma_half_lies_where_half_is_left():
    rows = torch.from_numpy(np.random.default_rng(7).standard_normal((1000, 64)))
    curve = noise_curve(rows, np.ones(1000), SPEC)
    value, low, high = curve.sigma_half
    half = np.log(1000) / 2
    assert low <= value <= high
    assert (
        curve.left.nats[np.searchsorted(SPEC.sigmas, value) - 1] >= half >= curve.left.nats[np.searchsorted(SPEC.sigmas, value)]
    )
    fine = noise_curve(rows, np.ones(1000), NoiseOptions(sigmas=(value,), sigma=value, max_draws=2048))
    assert fine.left.nats[0] == pytest.approx(half, rel=0.1)


def test_sigma_half_is_open_where_the_levels_end():
    rows = np.random.default_rng(8).standard_normal((200, 64))
    assert curve_of(rows, None, NoiseOptions(sigmas=(0.1, 0.2), sigma=0.1, max_draws=1024)).sigma_half[2] == np.inf
    assert curve_of(rows, None, NoiseOptions(sigmas=(1e3, 1e4), sigma=1e3, max_draws=1024)).sigma_half[1] == 0.0


def test_wrong_weights_are_refused():
    rows = torch.zeros((3, 2))
    for weights in (np.ones(2), np.zeros(3), np.array([1.0, -1.0, 1.0])):
        with pytest.raises(InputError, match="weight"):
            noise_curve(rows, weights, SPEC)


@pytest.mark.parametrize("wrong", [{"tolerance": -1.0}, {"tolerance": float("nan")}, {"max_draws": 1}, {"max_draws": 2.5}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(InputError, match=f"^{next(iter(wrong))}"):
        NoiseOptions(**wrong)


def test_the_reference_is_right_itself():
    rows, weights, rng = np.array([[-1.0], [1.0], [3.0]]), np.array([1, 2, 1]), np.random.default_rng(0)
    value, error = information(rows, weights, 1.0, rng, 200_000)
    assert value == pytest.approx(quadrature(rows, weights, 1.0), abs=4 * error)
    assert posteriors(rows, weights, 1.0, rng, 10).sum(1) == pytest.approx(1)
    assert entropy(np.array([0.5, 0.5, 0.0])) == pytest.approx(np.log(2))
