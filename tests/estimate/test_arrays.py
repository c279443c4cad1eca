"""`mutual_information`: what it refuses, what it knows exactly, and answers known beforehand."""

import math

import numpy as np
import pytest
import torch

import ie_store
from ie_store.errors import InputError
from ie_store.estimators import estimator_spec
from ie_store.specs import Outcome

TRAINED = ("mine", "infonce", "nwj", "smile", "js")
RNG = np.random.default_rng(0)
NOISE = RNG.standard_normal((400, 3))


def estimate(x, y, estimator="mine", **options):
    few = {"steps": 100} if estimator in TRAINED else {}
    return ie_store.mutual_information(x, y, estimator=estimator, **few | options)


def gaussian(num_rows, size, pairs, nats, seed):
    rng = np.random.default_rng(seed)
    correlation = math.sqrt(1 - math.exp(-2 * nats / pairs))
    x, y = rng.standard_normal((2, num_rows, size)).astype(np.float32)
    y[:, :pairs] = correlation * x[:, :pairs] + math.sqrt(1 - correlation**2) * y[:, :pairs]
    turn = np.linalg.qr(rng.standard_normal((size, size)))[0].astype(np.float32)
    return x, y @ turn


@pytest.mark.parametrize(
    ("x", "y", "options", "words"),
    [
        (NOISE[:49], NOISE[:49], {}, "at least 50"),
        (NOISE, NOISE[:-1], {}, "400 rows and y has 399"),
        (np.where(NOISE > 2, np.nan, NOISE), NOISE, {}, "NaN or Inf in"),
        (NOISE, np.where(NOISE > 2, np.inf, NOISE), {}, "y has NaN or Inf"),
        (NOISE, NOISE, {"estimator": "mien"}, "did you mean 'mine'"),
        (NOISE, NOISE, {"stpes": 3}, "did you mean 'steps'"),
        (NOISE[..., None], NOISE, {}, "shape"),
        (NOISE.astype(str), NOISE, {}, "not real numbers"),
        (NOISE + 1j, NOISE, {}, "not real numbers"),
        (NOISE, NOISE, {"estimator": "exact"}, "rows that repeat"),
        (NOISE, NOISE // 2, {"estimator": "noise"}, "y determines x"),
        (NOISE, NOISE, {"weights": np.ones(3)}, "one per row"),
        (NOISE, NOISE, {"weights": -np.ones(400)}, "finite numbers >= 0"),
    ],
)
def test_bad_input_is_told_what_is_wrong(x, y, options, words):
    with pytest.raises(InputError, match=words):
        estimate(x, y, **options)


@pytest.mark.parametrize("name", [*TRAINED, "cca"])
def test_a_constant_side_is_exactly_nothing(name):
    found = estimate(np.full((200, 4), 3.0), NOISE[:200], name)
    assert (found.nats, found.interval_nats, found.outcome) == (0.0, (0.0, 0.0), Outcome.EXACT)
    assert "constant" in found.flags[0]


def test_identical_arrays_are_flagged_and_saturate():
    found = estimate(NOISE, NOISE)
    assert any("the same rows" in flag for flag in found.flags)
    assert found.outcome.flagged
    assert found.nats <= math.log(200)


def test_noise_brackets_the_information_of_a_noisy_sign():
    """x = +-1 given by y: I(y; x + sigma Z) of an antipodal signal, by quadrature."""
    y = np.arange(400)
    x = np.where(y % 2, 1.0, -1.0)
    sigma = 1.0
    points = np.linspace(-12, 12, 20001)
    density = sum(np.exp(-((points - sign) ** 2) / (2 * sigma**2)) for sign in (1, -1)) / (2 * np.sqrt(2 * np.pi) * sigma)
    truth = np.trapezoid(-density * np.log(density), points) - 0.5 * np.log(2 * np.pi * np.e * sigma**2)
    found = estimate(x, y, "noise", sigma=1.0)
    assert found.outcome is Outcome.CERTIFIED
    assert found.interval_nats[0] <= truth <= found.interval_nats[1]
    assert found.ceiling_nats == pytest.approx(math.log(2))


def test_exact_is_the_plug_in_value_of_repeating_rows():
    x = RNG.integers(0, 4, 600)
    y = x % 2
    table = np.array([[np.mean((x == a) & (y == b)) for b in range(2)] for a in range(4)])
    product = table.sum(1, keepdims=True) * table.sum(0, keepdims=True)
    truth = float(np.sum(table[table > 0] * np.log((table / product)[table > 0])))
    found = estimate(x, y, "exact")
    assert found.nats == pytest.approx(truth, abs=1e-12)
    assert found.outcome is Outcome.EXACT


@pytest.mark.slow
def test_one_discrete_side_gives_a_ceiling():
    labels = RNG.integers(0, 3, 400)
    found = estimate(NOISE + labels[:, None], labels)
    assert found.ceiling_nats == pytest.approx(-sum(p * math.log(p) for p in np.bincount(labels) / 400))
    assert 0 < found.nats <= found.ceiling_nats


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mine", "infonce", "nwj", "js"])
def test_tokens_behind_vectors_carry_their_entropy(name):
    tokens = RNG.integers(0, 25, 4000)
    before, after = RNG.standard_normal((2, 25, 16))
    found = estimate(before[tokens], after[tokens], name)
    assert found.ceiling_nats - 0.05 < found.nats <= found.ceiling_nats
    assert found.outcome is Outcome.CONVERGED


def test_a_table_of_all_there_is_needs_no_rows_to_spare():
    before, after = RNG.standard_normal((2, 25, 16))
    found = estimate(before, after, weights=np.ones(25))
    assert found.nats == pytest.approx(math.log(25), abs=1e-3)
    assert found.nats <= found.ceiling_nats + 1e-5


def test_the_gaussian_value_of_discrete_rows_is_above_its_ceiling():
    tokens = RNG.integers(0, 25, 1000)
    before = RNG.standard_normal((25, 16))
    assert estimate(before[tokens], before[tokens] * 2, "cca").outcome is Outcome.ABOVE_CEILING


def test_the_gaussian_value_of_clusters_is_more_than_there_is_and_claims_nothing():
    """x and y know each other only through one of 8 tokens, so they share at most ln 8, and no row repeats to tell a ceiling."""
    tokens = np.arange(1600) % 8
    x, y = (RNG.standard_normal((8, 16))[tokens] + 0.01 * RNG.standard_normal((1600, 16)) for _ in range(2))
    found = estimate(x, y, "cca")
    assert found.nats > math.log(8) + 10 * found.standard_error_nats
    assert (found.ceiling_nats, found.outcome) == (None, Outcome.NOT_A_BOUND)


def test_the_gaussian_value_of_gaussians_is_right_and_still_claims_nothing():
    x, y = gaussian(4000, 4, 4, 1.0, 0)
    found = estimate(x, y, "cca")
    assert found.nats == pytest.approx(1.0, abs=0.05)
    assert found.outcome is Outcome.NOT_A_BOUND


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_and_tensors_the_same_as_arrays():
    x, y = gaussian(300, 4, 4, 1.0, 0)
    first, again = estimate(x, y, seed=1), estimate(torch.from_numpy(x), torch.from_numpy(y), seed=1)
    assert first.nats == again.nats
    assert first.interval_nats == again.interval_nats


@pytest.mark.slow
def test_a_whole_spec_and_seeds():
    x, y = gaussian(300, 4, 4, 1.0, 0)
    found = ie_store.mutual_information(x, y, estimator=estimator_spec("infonce", steps=50, seeds=2, folds=3))
    assert len(found.diagnostics["fold_nats"]) == 6
    assert found.standard_error_nats > 0
    low, high = found.interval_nats
    assert low < found.nats < high


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TRAINED, "cca"])
@pytest.mark.parametrize("size", [16, 256])
def test_independent_rows_carry_nothing(name, size):
    x, y = gaussian(4000, size, size, 0.0, 3)
    assert estimate(x, y, name).nats < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "pairs", "nats", "share"), [(16, 16, 2.0, 0.9), (16, 2, 5.0, 0.9), (64, 2, 5.0, 0.85), (64, 64, 2.0, 0.75)]
)
def test_gaussians_are_recovered(size, pairs, nats, share):
    x, y = gaussian(10_000, size, pairs, nats, 4)
    found = estimate(x, y)
    assert share * nats <= found.nats <= nats + 2 * found.standard_error_nats
    assert found.outcome in (Outcome.CONVERGED, Outcome.STEP_LIMIT)


@pytest.mark.slow
def test_an_invertible_map_of_each_dimension_changes_nothing():
    x, y = gaussian(4000, 3, 3, 1.0, 5)
    plain, mapped = estimate(x, y), estimate(x**3, np.exp(y))
    assert mapped.nats == pytest.approx(plain.nats, abs=0.05)


@pytest.mark.slow
def test_information_that_no_linear_critic_sees_is_found():
    x = RNG.standard_normal((4000, 2)).astype(np.float32)
    y = np.abs(x) + 0.3 * RNG.standard_normal((4000, 2)).astype(np.float32)
    assert estimate(x, y, "cca").nats < 0.1
    assert estimate(x, y, steps=300).nats > 1.2


@pytest.mark.slow
def test_lower_bounds_do_not_exceed_the_truth():
    """Of 40 seeded Gaussians at most 5% may lie above the truth by more than two of their standard errors (see benchmarks)."""
    above = 0
    for seed in range(40):
        nats = (0.0, 0.5, 2.0, 5.0)[seed % 4]
        found = estimate(*gaussian(600, 4, 4, nats, 100 + seed), "infonce", steps=50, seed=seed)
        above += found.nats > nats + 2 * found.standard_error_nats
    assert above <= 2
