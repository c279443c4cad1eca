"""The noise-resolved bounds against a float64 brute force, a Monte-Carlo mixture, and closed forms."""

import numpy as np
import pytest
import torch

from ie_store.errors import InputError
from ie_store.estimate.estimators.noise import noise_curve, noise_estimate
from ie_store.estimator_options import NoiseOptions
from ie_store.specs import Outcome

SPEC = NoiseOptions()


def brute_force(rows, weights, sigma, scale="std"):
    """Both bounds in float64, from the differences of all pairs."""
    rows, p = rows.astype(np.float64), weights / weights.sum()
    mean = p @ rows
    variance = p @ (rows - mean) ** 2
    z = (rows - mean) / (np.sqrt(variance) if scale == "std" else np.sqrt(variance.mean()))
    squared = ((z[:, None, :] - z[None, :, :]) ** 2).sum(-1)
    return tuple(-p @ np.log(np.exp(-squared / (k * sigma**2)) @ p) for k in (8, 2))


@pytest.mark.parametrize("scale", ["std", "rms"])
@pytest.mark.parametrize("offset", [0.0, 3000.0])
def test_equals_brute_force(scale, offset):
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((700, 24)) * rng.uniform(0.1, 30, 24) + offset).astype(np.float32)
    weights = rng.integers(1, 9, 700)
    spec = NoiseOptions(scale=scale)
    curve = noise_curve(torch.from_numpy(rows), weights, spec)
    for index, sigma in enumerate(spec.sigmas):
        lower, upper = brute_force(rows, weights, sigma, scale)
        assert curve.lower_nats[index] == pytest.approx(lower, abs=2e-5)
        assert curve.upper_nats[index] == pytest.approx(upper, abs=2e-5)


def test_a_few_huge_rows_do_not_blur_the_rest():
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((3000, 16)).astype(np.float32)
    rows[:40] = 20000.0 + 0.01 * rng.standard_normal((40, 16)).astype(np.float32)
    curve = noise_curve(torch.from_numpy(rows), np.ones(3000), SPEC)
    for index, sigma in enumerate(SPEC.sigmas):
        lower, upper = brute_force(rows, np.ones(3000), sigma)
        assert curve.lower_nats[index] == pytest.approx(lower, rel=1e-4, abs=2e-5)
        assert curve.upper_nats[index] == pytest.approx(upper, rel=1e-4, abs=2e-5)


def monte_carlo(rows, p, sigma, rng, draws=20000):
    """I(S; standardised row + sigma Z) and its standard error, by sampling the mixture."""
    mean = p @ rows
    z = (rows - mean) / np.sqrt(p @ (rows - mean) ** 2)
    chosen = rng.choice(len(p), size=draws, p=p)
    noisy = z[chosen] + sigma * rng.standard_normal((draws, z.shape[1]))
    own = -((noisy - z[chosen]) ** 2).sum(1) / (2 * sigma**2)
    every = -((noisy[:, None, :] - z[None]) ** 2).sum(-1) / (2 * sigma**2) + np.log(p)
    top = every.max(1)
    values = own - (top + np.log(np.exp(every - top[:, None]).sum(1)))
    return values.mean(), values.std() / np.sqrt(draws)


@pytest.mark.slow
def test_bounds_bracket_a_monte_carlo_value_in_all_of_50_trials():
    for trial in range(50):
        rng = np.random.default_rng(trial)
        num_rows, dimensions, sigma = int(rng.integers(2, 20)), int(rng.integers(1, 6)), float(rng.uniform(0.3, 3))
        rows, weights = rng.standard_normal((num_rows, dimensions)), rng.integers(1, 6, num_rows)
        spec = NoiseOptions(sigmas=(sigma,), sigma=sigma)
        curve = noise_curve(torch.from_numpy(rows), weights, spec)
        value, error = monte_carlo(rows, weights / weights.sum(), sigma, rng)
        assert curve.lower_nats[0] - 4 * error <= value <= curve.upper_nats[0] + 4 * error, trial


def test_small_noise_returns_the_entropy_and_large_noise_nothing():
    rows = torch.from_numpy(np.random.default_rng(2).standard_normal((500, 32)))
    curve = noise_curve(rows, np.ones(500), NoiseOptions(sigmas=(1e-3, 4.0, 1e4)))
    assert curve.lower_nats[0] == pytest.approx(np.log(500), abs=1e-6)
    assert curve.upper_nats[-1] == pytest.approx(0, abs=1e-5)
    assert np.all(np.diff(curve.lower_nats) < 0)
    assert np.all(np.diff(curve.upper_nats) < 0)


def test_weights_equal_copies():
    rng = np.random.default_rng(3)
    rows, counts = rng.standard_normal((60, 8)).astype(np.float32), rng.integers(0, 5, 60)
    table = noise_curve(torch.from_numpy(rows), counts, SPEC)
    copies = noise_curve(torch.from_numpy(np.repeat(rows, counts, axis=0)), np.ones(counts.sum()), SPEC)
    assert table.num_rows == np.count_nonzero(counts)
    np.testing.assert_allclose(table.lower_nats, copies.lower_nats, atol=1e-5)
    np.testing.assert_allclose(table.upper_nats, copies.upper_nats, atol=1e-5)


@pytest.mark.parametrize("rows", [np.full((80, 5), 0.1, np.float16), np.full((1, 5), 3.0, np.float32)])
def test_a_constant_slab_has_exactly_nothing(rows):
    estimate = noise_estimate(torch.from_numpy(rows), np.ones(len(rows)), SPEC)
    assert estimate.nats == 0.0
    assert estimate.interval_nats == (0.0, 0.0)
    assert estimate.outcome is Outcome.CERTIFIED


def test_dimensions_without_variance_are_dropped():
    rows = np.random.default_rng(4).standard_normal((90, 6)).astype(np.float32)
    padded = np.concatenate([rows, np.full((90, 2), 7.0, np.float32)], axis=1)
    bare, wide = (noise_curve(torch.from_numpy(r), np.ones(90), SPEC) for r in (rows, padded))
    assert (bare.num_dimensions, wide.num_dimensions) == (6, 6)
    np.testing.assert_array_equal(bare.lower_nats, wide.lower_nats)


def test_two_runs_give_the_same_bits():
    rows = torch.from_numpy(np.random.default_rng(5).standard_normal((3000, 40)).astype(np.float16))
    first, second = (noise_curve(rows, np.ones(3000), SPEC) for _ in range(2))
    assert first.lower_nats.tobytes() == second.lower_nats.tobytes()
    assert first.upper_nats.tobytes() == second.upper_nats.tobytes()


def test_sampled_outer_rows_come_with_an_error_bar_that_holds():
    rng = np.random.default_rng(6)
    rows, weights = torch.from_numpy(rng.standard_normal((2000, 12)) * rng.uniform(0.2, 3, (2000, 1))), rng.integers(1, 4, 2000)
    whole = noise_curve(rows, weights, SPEC)
    deviations = []
    for seed in range(20):
        curve = noise_curve(rows, weights, NoiseOptions(outer_rows=300, seed=seed))
        assert 0 < curve.num_outer <= 300
        deviations.append((curve.lower_nats[2] - whole.lower_nats[2]) / curve.lower_se_nats[2])
    assert np.abs(deviations).max() < 4
    assert 0.4 < np.std(deviations) < 1.8


def test_sigma_half_lies_between_the_levels_that_bracket_the_half():
    rows = torch.from_numpy(np.random.default_rng(7).standard_normal((1000, 64)))
    curve = noise_curve(rows, np.ones(1000), SPEC)
    low, high = curve.sigma_half
    half = np.log(1000) / 2
    assert curve.lower_nats[np.searchsorted(SPEC.sigmas, low) - 1] >= half >= curve.lower_nats[np.searchsorted(SPEC.sigmas, low)]
    assert (
        curve.upper_nats[np.searchsorted(SPEC.sigmas, high) - 1] >= half >= curve.upper_nats[np.searchsorted(SPEC.sigmas, high)]
    )
    fine = noise_curve(rows, np.ones(1000), NoiseOptions(sigmas=(low, high), sigma=low))
    assert fine.lower_nats[0] == pytest.approx(half, rel=0.1)


def test_sigma_half_is_open_where_the_levels_end():
    rows = torch.from_numpy(np.random.default_rng(8).standard_normal((200, 64)))
    assert noise_curve(rows, np.ones(200), NoiseOptions(sigmas=(0.1, 0.2), sigma=0.1)).sigma_half[1] == np.inf
    assert noise_curve(rows, np.ones(200), NoiseOptions(sigmas=(1e3, 1e4), sigma=1e3)).sigma_half[0] == 0.0


def test_wrong_weights_are_refused():
    rows = torch.zeros((3, 2))
    for weights in (np.ones(2), np.zeros(3), np.array([1.0, -1.0, 1.0])):
        with pytest.raises(InputError, match="weight"):
            noise_curve(rows, weights, SPEC)
