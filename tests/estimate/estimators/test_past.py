"""What noisy states tell of past tokens, against sums over an independent sampler's posteriors; and what is exact and free."""

import itertools

import numpy as np
import pytest
import torch
import xarray as xr
from known_posterior import entropy, posteriors
from known_store import NAME, random_tokens, write_store
from scipy import special

from ie_store.estimate.estimators import posterior
from ie_store.estimate.estimators.noise_curve import noise_curve
from ie_store.estimate.exact.past import past_of
from ie_store.estimate.run import estimate
from ie_store.estimator_options import NoiseOptions
from ie_store.estimators import estimator_spec
from ie_store.options import EstimateSpec
from ie_store.prefixes import common_prefix_lengths
from ie_store.specs import NATS_PER_BIT
from ie_store.store.results.group import results_key

SIGMA = 1.5
OPTIONS = NoiseOptions(sigmas=(0.7, SIGMA), sigma=SIGMA, tolerance=0.02)
NOISE = estimator_spec("noise", max_draws=1024)


def grouped(weights, keys):
    """Sums (..., key) of ``weights`` (..., outcome) over outcomes of one key."""
    index = np.unique(np.array([hash(key) for key in keys]), return_inverse=True)[1]
    return np.stack([weights[..., index == k].sum(-1) for k in range(index.max() + 1)], axis=-1)


def entropies_of_past(weights, outcomes):
    """Entropies (..., quantity) of the prefixes, then of the tokens, under ``weights`` (..., outcome)."""
    positions = range(len(outcomes[0]))
    keys = [[tuple(row[: s + 1]) for row in outcomes] for s in positions] + [[(row[s],) for row in outcomes] for s in positions]
    return np.stack([-special.xlogy(p, p).sum(-1) for p in (grouped(weights, key) for key in keys)], axis=-1)


@pytest.fixture(scope="module", params=[(140, 3, 4), (300, 4, 7), (400, 5, 2)], ids=str)
def problem(request):
    rows, positions, kinds = request.param
    tokens = random_tokens(rows, positions, kinds)
    tokens[:, 1] = 2 if kinds == 2 else tokens[:, 1]  # a separator
    tokens = tokens[np.lexsort(tokens.T[::-1])]
    outcomes, counts = np.unique(tokens, axis=0, return_counts=True)
    states = np.random.default_rng(rows).standard_normal((len(outcomes), 9))
    past = past_of(tokens, common_prefix_lengths(tokens), positions - 1)
    return outcomes, counts, states, past


@pytest.fixture(scope="module")
def left(problem):
    """(draw, quantity) entropies of the past that an independent sampler's noisy states leave."""
    outcomes, counts, states, _ = problem
    return entropies_of_past(posteriors(states, counts, SIGMA, np.random.default_rng(1), 1500), outcomes.tolist())


def test_the_past_is_counted_as_it_is(problem):
    outcomes, _, _, past = problem
    assert past.num_prefixes.tolist() == [len(np.unique(outcomes[:, : s + 1], axis=0)) for s in range(outcomes.shape[1])]
    assert past.num_tokens.tolist() == [len(np.unique(column)) for column in outcomes.T]


@pytest.mark.slow
@pytest.mark.parametrize("tile", [(512, 256), (3, 64), (1, 50)])
def test_sums_of_posteriors_are_those_of_an_independent_sampler(problem, left, tile, monkeypatch):
    monkeypatch.setattr(posterior, "TILE", {"cpu": tile})
    outcomes, counts, states, past = problem
    draws = NoiseOptions(sigmas=(0.7, SIGMA), sigma=SIGMA, max_draws=1024) if tile[0] < 512 else OPTIONS
    found = noise_curve(torch.from_numpy(states), counts, draws, past=past)
    plain = noise_curve(torch.from_numpy(states), counts, draws)
    np.testing.assert_allclose(found.left.nats, plain.left.nats, atol=1e-6)
    prior = entropies_of_past(counts / counts.sum(), outcomes)
    truth, error = prior - left.mean(0), left.std(0) / np.sqrt(len(left))
    values = np.concatenate([found.past.prefix.nats, found.past.token.nats])
    errors = np.concatenate([found.past.prefix.standard_error, found.past.token.standard_error])
    assert np.all(np.abs(values - truth) <= 4.5 * np.hypot(error, errors) + 1e-6)
    assert found.past.prefix.nats[-1] == pytest.approx(found.left.nats[1], abs=1e-9)
    t = outcomes.shape[1]
    correlations = left[:, t:].sum(1) - left[:, t - 1]
    psi = correlations.mean() - (prior[t:].sum() - prior[t - 1])
    assert abs(found.past.psi.nats[0] - psi) <= 4.5 * np.hypot(
        correlations.std() / np.sqrt(1500), found.past.psi.standard_error[0]
    )
    assert found.past.psi.nats[0] == pytest.approx(found.left.nats[1] - found.past.token.nats.sum(), abs=1e-6)
    for ends in (found.past.prefix, found.past.token, found.past.psi):
        assert np.all(ends.low <= ends.nats)
        assert np.all(ends.nats <= ends.high)


def test_maps_at_more_noise_levels_are_those_at_the_level_that_is_shown(problem):
    _, counts, states, past = problem
    rows = torch.from_numpy(states)
    both = noise_curve(rows, counts, NoiseOptions(sigmas=(0.7, SIGMA), sigma=SIGMA, max_draws=1024, map_sigmas=(0.7,)), past=past)
    shown = [
        noise_curve(rows, counts, NoiseOptions(sigmas=(0.7, SIGMA), sigma=s, max_draws=1024), past=past).past
        for s in (SIGMA, 0.7)
    ]
    assert len(both.pasts) == 2
    for found, alone in zip(both.pasts, shown, strict=True):
        for quantity in ("prefix", "token", "psi"):
            for end in ("nats", "low", "high", "standard_error"):
                np.testing.assert_allclose(
                    getattr(getattr(found, quantity), end), getattr(getattr(alone, quantity), end), atol=1e-9
                )


def test_without_noise_everything_of_the_past_is_left(problem):
    outcomes, counts, states, past = problem
    found = noise_curve(torch.from_numpy(states), counts, NoiseOptions(sigmas=(1e-3,), sigma=1e-3, max_draws=1024), past=past)
    prior = entropies_of_past(counts / counts.sum(), outcomes)
    np.testing.assert_allclose(np.concatenate([found.past.prefix.nats, found.past.token.nats]), prior, atol=1e-5)
    assert found.past.psi.nats[0] == pytest.approx(prior[outcomes.shape[1] - 1] - prior[outcomes.shape[1] :].sum(), abs=1e-5)


def test_states_that_are_one_tell_nothing_of_the_past(problem):
    _, counts, states, past = problem
    found = noise_curve(torch.from_numpy(np.ones_like(states)), counts, OPTIONS, past=past).past
    assert not np.concatenate([found.prefix.high, found.token.high, found.psi.high]).any()


def opened(store, spec):
    return xr.open_zarr(f"{store}/{results_key(NAME, spec)}", consolidated=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = write_store(tmp_path_factory.mktemp("past") / "store", random_tokens(140))
    estimate(EstimateSpec(store=store, name=NAME, estimators=(NOISE,), positions="all"))
    return store


def test_the_past_stands_in_the_store_over_layers_positions_and_tokens(store):
    group = opened(store, NOISE)
    for quantity in ("prefix", "token"):
        values = group[f"macro_{quantity}_nats"]
        assert values.dims == ("layer", "position", "token_position")
        assert values.attrs["units"] == "nat"
        known = np.isfinite(values.values)
        assert known[1:].tolist() == [[[s <= t for s in range(3)] for t in range(3)]] * 2  # layer L too
        assert known[0].tolist() == np.eye(3, dtype=bool).tolist()  # its own token only
        low, high = group[f"macro_{quantity}_nats_low"].values, group[f"macro_{quantity}_nats_high"].values
        assert np.all((low <= values.values)[known] & (values.values <= high)[known])
    assert group.macro_psi_nats.dims == ("layer", "position")
    assert np.isfinite(group.macro_psi_nats.values).tolist() == [[False] * 3, [True] * 3, [True] * 3]


def test_maps_at_more_noise_levels_stand_in_the_store_over_sigma(tmp_path):
    store = write_store(tmp_path / "store", random_tokens(140))
    more = estimator_spec("noise", max_draws=1024, map_sigmas=(1.0, 8.0))
    estimate(EstimateSpec(store=store, name=NAME, estimators=(more,), positions="all"))
    group = opened(store, more)
    for quantity in ("prefix", "token"):
        values = group[f"macro_{quantity}_curve_nats"]
        assert values.dims == ("layer", "position", "token_position", "sigma")
        known = np.isfinite(values.values)
        asked = [sigma in (1.0, 8.0) for sigma in group.sigma.values]
        assert known[1:].tolist() == [[[[s <= t and told for told in asked] for s in range(3)] for t in range(3)]] * 2
        assert np.all(values.sel(sigma=1.0).values[1:] >= values.sel(sigma=8.0).values[1:], where=known[1:, ..., 1])


def test_the_whole_prefix_is_the_value_and_the_curve_has_it(store):
    group = opened(store, NOISE)
    whole = group.macro_prefix_nats.values[:, range(3), range(3)]
    np.testing.assert_allclose(whole[:2], group.mi_macro.values, atol=1e-12)
    np.testing.assert_allclose(group.macro_curve_nats.values[..., NOISE.options.sigmas.index(4.0)], whole, atol=1e-12)


def test_a_token_alone_has_no_map(store):
    assert not [name for name in opened(store, NOISE) if name.startswith(("micro_prefix", "micro_token", "micro_psi"))]


def test_total_correlation_and_psi_stand_with_the_exact_values(store):
    group, tokens = opened(store, estimator_spec("exact")), random_tokens(140)
    for position in range(3):
        rows = [tuple(row[: position + 1]) for row in tokens.tolist()]
        lone = sum(entropy(np.unique(column, return_counts=True)[1] / 140) for column in tokens[:, : position + 1].T)
        whole = entropy(np.array([rows.count(row) for row in set(rows)]) / 140)
        assert group.macro_total_correlation_nats.values[1, position] == pytest.approx(lone - whole, abs=1e-9)
        assert group.macro_psi_nats.values[1, position] == pytest.approx(whole - lone, abs=1e-9)
    assert np.isnan(group.macro_psi_nats.values[0]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("names", "shots", "psi_bits"), [(25, 4, -0.364), (16, 5, -1.000), (15, 5, -1.075)])
def test_psi_of_ordered_selections_is_as_published(names, shots, psi_bits):
    """By brute force over the distinct prefixes of every length: country, animal, color."""
    rows = np.array(list(itertools.permutations(range(names), shots)))
    lone = sum(entropy(np.bincount(column) / len(rows)) for column in rows.T)
    assert len(rows) == np.prod([names - s for s in range(shots)])
    assert (np.log(len(rows)) - lone) / NATS_PER_BIT == pytest.approx(psi_bits, abs=5e-4)
    from ie_store.estimate.exact.prefix_index import PrefixIndex
    from ie_store.estimate.exact_record import exact_values
    from ie_store.specs import CorpusSpec, Problem, StoreLayout

    tokens = np.zeros((len(rows), 2 * shots), np.int32)  # a separator after every name
    tokens[:, ::2] = rows + 1
    corpus = CorpusSpec(
        recipe="r", name="n", fingerprint="f", num_sequences=len(rows), num_positions=2 * shots, complete=True
    )  # fmt: skip
    layout = StoreLayout(
        num_layers=3, num_positions=2 * shots, num_sequences=len(rows), num_tokens=names + 1, hidden_size=1,
        stored_dtype="float32", layers=(0,), positions=(0,), rows_per_shard=64, tokens_per_shard=4, shards_per_group=1,
        rows_per_batch=16,
    )  # fmt: skip
    index = PrefixIndex(tokens, np.unique(tokens).astype(np.int32), corpus, 2)
    found = exact_values(index, layout, corpus)[Problem(level="macro", block=1, position=2 * shots - 1)].diagnostics
    assert found["psi_nats"] == pytest.approx(np.log(len(rows)) - lone, abs=1e-6)
    assert found["total_correlation_nats"] == -found["psi_nats"]
