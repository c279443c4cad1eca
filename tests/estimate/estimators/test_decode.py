"""Usable bits of a linear reader, against known posteriors and enumeration; nothing where there is nothing to read."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from known_store import NAME, random_tokens, write_store
from scipy import stats

from ie_store.errors import InputError
from ie_store.estimate.batch_states import ItemShape
from ie_store.estimate.critics.folds import make_folds
from ie_store.estimate.critics.held_out import student_95
from ie_store.estimate.critics.scores import SplitPart
from ie_store.estimate.estimators import decode
from ie_store.estimate.estimators.decode import combine_folds
from ie_store.estimate.estimators.decode_newton import maximise
from ie_store.estimate.estimators.decode_reader import list_prefixes, read_fold, require_apart, split_prefixes
from ie_store.estimate.estimators.decode_share import choose_share, mix
from ie_store.estimate.exact.prefix_index import DistinctPrefixes
from ie_store.estimate.mutual_information import mutual_information
from ie_store.estimate.run import estimate
from ie_store.estimator_options import DecodeOptions
from ie_store.estimators import estimator_spec
from ie_store.options import EstimateSpec
from ie_store.prefixes import lexicographic_order
from ie_store.specs import Outcome, Problem
from ie_store.store.results.show import read_results

OPTIONS = DecodeOptions()


def distinct(counts):
    of_sequence = np.repeat(np.arange(len(counts)), counts)
    return DistinctPrefixes(of_sequence=of_sequence, first_rows=np.cumsum(counts) - counts, counts=np.asarray(counts))


def gaussian_classes(seed=0, kinds=4, names=160, hidden=10):
    """Prefixes (first token, second token, a name that states say nothing of), their states, and the true ln p(s|h)/p(s)."""
    rng = np.random.default_rng(seed)
    tokens = np.array(list(itertools.product(range(kinds), range(kinds), range(names))))
    half = hidden // 2
    covariance = np.zeros((hidden, hidden))
    means = np.zeros((2, kinds, hidden))
    for place in range(2):  # each token moves dimensions of its own, so that the posterior is a product
        part = slice(place * half, (place + 1) * half)
        mixing = rng.standard_normal((half, half))
        covariance[part, part] = mixing @ mixing.T / half + 0.3 * np.eye(half)
        means[place, :, part] = 0.7 * rng.standard_normal((kinds, half))
    whole = means[0][tokens[:, 0]] + means[1][tokens[:, 1]]
    states = whole + rng.multivariate_normal(np.zeros(hidden), covariance, len(tokens))
    pairs = means[0][:, None] + means[1][None]
    away = states[:, None] - pairs.reshape(-1, hidden)
    log_density = -0.5 * np.einsum("npd,de,npe->np", away, np.linalg.inv(covariance), away)
    own = log_density[np.arange(len(tokens)), tokens[:, 0] * kinds + tokens[:, 1]]
    truth = own - np.log(np.exp(log_density - log_density.max(1, keepdims=True)).mean(1)) - log_density.max(1)
    alone = torch.from_numpy(rng.standard_normal((names, 12)).astype(np.float32))
    return tokens, torch.from_numpy(states), truth, alone


def read_all(tokens, counts, states, alone, options=OPTIONS):
    listed = list_prefixes(tokens, counts, alone)
    folds = split_prefixes(distinct(counts), options)
    return [read_fold(states, listed, fold, number, options) for number, fold in enumerate(folds)]


def test_gaussian_classes_are_read_as_their_posterior_reads_them():
    tokens, states, truth, alone = gaussian_classes()
    found = read_all(tokens, np.ones(len(tokens), dtype=int), states, alone)
    value, best = np.mean([reading.nats for reading in found]), truth.mean()
    assert best - 0.04 < value < best + 0.005
    assert 0.5 < best < np.log(16)
    ratios = np.empty(len(tokens))
    for reading in found:
        ratios[reading.scored] = reading.ratios
    assert np.corrcoef(ratios, truth)[0, 1] > 0.97
    assert max(reading.token_nats[2] for reading in found) < 0.01  # the name, of which states know nothing


def test_the_split_holds_prefixes_apart_and_each_is_tested_once():
    counts = np.random.default_rng(2).integers(1, 9, 200)
    folds = split_prefixes(distinct(counts), OPTIONS)
    for fold in folds:
        require_apart(fold)
        assert fold.test.probabilities.sum() == pytest.approx(1)
    tested = torch.cat([fold.test.rows for fold in folds])
    assert sorted(tested.tolist()) == list(range(200))
    assert sum(fold.test.num_sequences for fold in folds) == counts.sum()


def planted(fold):
    leaked = torch.cat([fold.train.rows, fold.test.rows[:1]])
    shares = torch.full((len(leaked),), 1 / len(leaked), dtype=torch.float64)
    return replace(fold, train=SplitPart(rows=leaked, probabilities=shares, num_sequences=len(leaked), is_weighted=True))


def test_a_planted_leak_is_caught():
    tokens, states, _, alone = gaussian_classes(names=20)
    outcomes = distinct(np.full(len(tokens), 3))
    listed = list_prefixes(tokens, outcomes.counts, alone)
    fold = split_prefixes(outcomes, OPTIONS)[0]
    with pytest.raises(InputError, match="1 prefixes are on two sides"):
        read_fold(states, listed, planted(fold), 0, OPTIONS)
    by_sequence = make_folds(np.arange(len(outcomes.of_sequence)), outcomes.of_sequence, 4, 0)[0]
    with pytest.raises(InputError, match="on two sides"):
        read_fold(states, listed, by_sequence, 0, OPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_shuffled_states_tell_nothing(seed):
    tokens, states, _, alone = gaussian_classes(seed, names=60)
    shuffled = states[torch.from_numpy(np.random.default_rng(seed).permutation(len(states)))]
    found = [reading.nats for reading in read_all(tokens, np.ones(len(tokens), dtype=int), shuffled, alone)]
    assert abs(np.mean(found)) <= 3 * np.std(found, ddof=1) / 2 + 0.003


def test_shared_heads_read_tokens_that_were_never_trained_on():
    rng = np.random.default_rng(3)
    alone = torch.from_numpy(rng.standard_normal((900, 12)).astype(np.float32))
    tokens = np.stack([np.arange(900), np.zeros(900, dtype=int)], axis=1)
    states = alone @ torch.from_numpy(rng.standard_normal((12, 30)).astype(np.float32)) + 0.3 * torch.randn(
        (900, 30), generator=torch.Generator().manual_seed(0)
    )
    found = read_all(tokens, np.ones(900, dtype=int), states, alone)
    assert min(reading.unseen_share for reading in found) == 1.0
    assert min(reading.nats for reading in found) > 0.7 * np.log(900)


def test_the_mixed_reader_is_bounded_and_knows_nothing_where_it_should():
    ratios = torch.tensor([-1e9, 0.0, 3.0], dtype=torch.float64)
    assert mix(ratios, 1.0).tolist() == [0.0, 0.0, 0.0]
    assert mix(ratios, 0.01).tolist() == pytest.approx([np.log(0.01), 0.0, np.log(0.99 * np.exp(3) + 0.01)])
    weights = torch.full((12,), 1 / 12)
    assert choose_share(torch.tensor([-1.0, 0.0, 1.1] * 4), weights) == 1.0
    assert choose_share(torch.tensor([3.0, 3.0, 3.1] * 4), weights) == 1e-4
    assert choose_share(torch.tensor([3.0, 3.0, 3.1]), torch.full((3,), 1 / 3)) == 1.0  # too few to tell


@pytest.mark.slow
def test_drawn_test_rows_hold_the_score_of_all_within_their_half_width():
    tokens, states, _, alone = gaussian_classes(names=60)
    counts = np.random.default_rng(4).integers(1, 5, len(tokens))
    listed = list_prefixes(tokens, counts, alone)
    fold = split_prefixes(distinct(counts), OPTIONS)[0]
    whole = read_fold(states, listed, fold, 0, replace(OPTIONS, test_rows=0))
    assert whole.half_width_nats == 0.0
    missed = 0
    for seed in range(20):
        drawn = read_fold(states, listed, fold, 0, replace(OPTIONS, test_rows=400, seed=seed))
        assert len(drawn.scored) <= 100
        assert 0 < drawn.half_width_nats < 3
        missed += abs(drawn.nats - whole.nats) > drawn.half_width_nats
    assert missed == 0


def test_newton_finds_the_maximum_of_a_concave_function():
    centre = torch.tensor([2.0, -1.0])
    curvature = torch.tensor([[2.0, 0.5], [0.5, 1.0]])

    def objective(at):
        away = at - centre
        return float(-0.5 * away @ curvature @ away), -curvature @ away, curvature

    found, value = maximise(objective, torch.zeros(2))
    np.testing.assert_allclose(found, centre, atol=1e-3)
    assert value == pytest.approx(0, abs=1e-5)


def readable(tokens):
    """A `change` that makes every macro state from layer 1 on a sum of what stands at each position, plus noise."""

    def change(macro, micro):
        rng = np.random.default_rng(5)
        tables = rng.standard_normal((tokens.shape[1], tokens.max() + 1, macro.shape[-1]))
        first_seen = {}
        for layer, position, row in itertools.product(range(1, len(macro)), range(tokens.shape[1]), range(len(tokens))):
            prefix = (layer, *tokens[row, : position + 1])
            if prefix not in first_seen:
                whole = sum(tables[t][tokens[row, t]] for t in range(position + 1))
                first_seen[prefix] = whole + 0.05 * rng.standard_normal(macro.shape[-1])
            macro[layer, position, row] = first_seen[prefix]

    return change


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of one small dataset that a linear reader can read: arrays, and estimates by problem."""
    rows = np.array(list(itertools.product(range(5), repeat=3)), dtype=np.int32)
    rows = np.concatenate([rows, rows[::3]])
    tokens = rows[lexicographic_order(rows)] * 5 + 2
    store = write_store(tmp_path_factory.mktemp("decode") / "store", tokens, layers=3, hidden=24, change=readable(tokens))
    spec = estimator_spec("decode", pointwise=True)
    emergences = estimate(EstimateSpec(store=store, name=NAME, estimators=(spec,), positions="all"))
    arrays = xr.open_datatree(store, engine="zarr", consolidated=False)[f"{NAME}/estimates"]
    group = next(child for name, child in arrays.children.items() if name.startswith("decode"))
    return tokens, group.to_dataset(), read_results(store, NAME, spec), [e for e in emergences if e.estimator == "decode"]


def test_a_stored_dataset_is_read_at_every_layer(results):
    _, arrays, estimates, _ = results
    assert arrays.macro_decode_nats.dims == ("layer", "position")
    assert not bool(np.isnan(arrays.macro_decode_nats).any())
    last = estimates[Problem(level="macro", block=1, position=2)]
    assert last.outcome is Outcome.CONVERGED
    assert 0.8 * last.ceiling_nats < last.nats <= last.ceiling_nats
    assert float(arrays.macro_decode_nats[1, 2]) == last.nats
    assert float(arrays.macro_decode_nats[2, 2]) > 0.8 * last.ceiling_nats  # the last layer, which no block reads
    ended = arrays.macro_decode_outcome.values[[0, 1, 2], 2].tolist()
    assert [list(Outcome)[code] for code in ended] == [Outcome.EXACT, Outcome.CONVERGED, Outcome.CONVERGED]
    low, value, high = (float(arrays[f"macro_decode_{name}"][1, 2]) for name in ("low_nats", "nats", "high_nats"))
    assert low <= value <= high <= last.ceiling_nats + 1e-12


def test_flags_of_the_last_layer_stand_with_the_block_that_writes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "_flags", lambda *_: ("planted",))
    tokens = random_tokens(300, kinds=6)
    store = write_store(tmp_path / "store", tokens, layers=4)
    spec = estimator_spec("decode")
    estimate(EstimateSpec(store=store, name=NAME, estimators=(spec,), blocks="1,2"))
    read, written = (read_results(store, NAME, spec)[Problem(level="macro", block=block, position=2)].flags for block in (1, 2))
    assert "planted" in read
    assert not any(flag.startswith("layer") for flag in read)
    assert "planted" in written
    assert "layer 3: planted" in written


def test_lone_tokens_and_first_positions_are_exact_and_the_emergence_is_made_with_them(results):
    _, _, estimates, emergences = results
    for problem, found in estimates.items():
        if problem.level == "micro" or problem.position == 0 or problem.block == 0:
            assert (found.outcome, found.nats) == (Outcome.EXACT, found.ceiling_nats)
    for e in emergences:
        macro = estimates[Problem(level="macro", block=e.block, position=e.position)]
        lone = [estimates[Problem(level="micro", block=e.block, position=t)].ceiling_nats for t in range(e.position + 1)]
        assert e.ie_nats == pytest.approx(macro.nats - np.mean(lone))


def test_past_tokens_have_values_of_their_own(results):
    _, arrays, _, _ = results
    found = arrays.macro_decode_token_nats
    assert found.dims == ("layer", "position", "token_position")
    assert bool((found[1, 2] > 0.7 * np.log(5)).all())
    assert bool(np.isnan(found[0, 2, :2]).all())
    assert float(found[0, 2, 2]) == pytest.approx(np.log(5), rel=0.01)
    assert bool(np.isnan(found[1, 1, 2]))
    assert bool((arrays.macro_decode_token_se_nats[1, 2] >= 0).all())


def test_a_token_that_is_always_the_same_has_exactly_nothing(tmp_path):
    rows = np.array([(a, 9, b) for a in range(5) for b in range(20)], dtype=np.int32)
    store = write_store(tmp_path / "store", rows, hidden=24, change=readable(rows))
    estimate(EstimateSpec(store=store, name=NAME, estimators=(estimator_spec("decode"),), blocks="1"))
    arrays = xr.open_datatree(store, engine="zarr", consolidated=False)[f"{NAME}/estimates"]
    group = next(child for name, child in arrays.children.items() if name.startswith("decode"))
    assert group["macro_decode_token_nats"][1, 2, 1] == 0.0
    assert group["macro_decode_token_nats"][1, 2, 0] > 0.5


def test_pointwise_scores_average_to_the_value_and_equal_prefixes_share_them(results):
    tokens, arrays, estimates, _ = results
    scores = arrays.macro_decode_pointwise_nats[1, 2].to_numpy()
    assert scores.shape == (len(tokens),)
    assert scores.mean() == pytest.approx(
        estimates[Problem(level="macro", block=1, position=2)].diagnostics["raw_nats"], abs=1e-4
    )
    same = (tokens[1:] == tokens[:-1]).all(axis=1)
    assert (scores[1:][same] == scores[:-1][same]).all()
    assert same.any()


def test_states_without_a_linear_trace_of_the_prefix_give_nothing(tmp_path):
    store = write_store(tmp_path / "store", random_tokens(300, positions=4, kinds=5), hidden=8)
    found = estimate(EstimateSpec(store=store, name=NAME, estimators=(estimator_spec("decode"),), blocks="1"))
    macro = next(e for e in found if e.estimator == "decode").macro_nats
    assert macro < 0.1  # the states of different prefixes are independent draws


def test_too_few_prefixes_claim_nothing_and_say_so(tmp_path):
    tokens = np.repeat(np.array([[2, 7], [2, 12], [7, 2]], dtype=np.int32), 30, axis=0)
    store = write_store(tmp_path / "store", tokens)
    spec = estimator_spec("decode")
    estimate(EstimateSpec(store=store, name=NAME, estimators=(spec,), blocks="1"))
    found = read_results(store, NAME, spec)[Problem(level="macro", block=1, position=1)]
    assert found.nats == 0.0
    assert found.outcome == Outcome.UNSTABLE
    assert found.interval_nats == (0.0, pytest.approx(np.log(3)))
    assert "3 distinct prefixes are too few to hold any out" in found.flags[0]


def test_arrays_are_refused_with_the_reason():
    with pytest.raises(InputError, match="arrays have no known p"):
        mutual_information(np.arange(60), np.arange(60), estimator="decode")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folds": 1}, "at least 2"),
        ({"test_rows": 5}, "too few for 4 folds"),
        ({"test_rows": -1}, "at least 0"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_that_cannot_be_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        estimator_spec("decode", **options)


def test_students_interval_is_that_of_tables():
    freedom = [*range(1, 40), 100, 10_000]
    np.testing.assert_allclose([student_95(degrees) for degrees in freedom], stats.t.ppf(0.975, freedom), rtol=2e-4)


@pytest.mark.parametrize("folds", [2, 4])
def test_the_interval_over_few_folds_covers_as_often_as_it_says(folds):
    values, weights = np.random.default_rng(0).standard_normal((2000, folds)), np.full(folds, 1 / folds)
    intervals = np.array([combine_folds(list(row), weights).interval_nats for row in values])
    covered = float(np.mean((intervals[:, 0] <= 0) & (intervals[:, 1] >= 0)))
    assert 0.935 <= covered <= 0.965  # a normal interval covers 0.70 and 0.86


def test_the_interval_holds_the_whole_width_of_drawn_rows():
    low, high = combine_folds([2.0, 2.0], np.array([0.5, 0.5]), 0.25).interval_nats
    assert (low, high) == pytest.approx((1.75, 2.25))


def test_scores_of_a_few_rows_at_a_time_are_the_same(monkeypatch):
    tokens, states, _, alone = gaussian_classes(names=40)
    listed = list_prefixes(tokens, np.ones(len(tokens), dtype=np.int64), alone)
    (fold, *_) = split_prefixes(distinct(np.ones(len(tokens), dtype=np.int64)), OPTIONS)
    whole = read_fold(states, listed, fold, 0, OPTIONS)
    monkeypatch.setattr("ie_store.estimate.estimators.decode_reader.SCORES_AT_ONCE", 1)
    monkeypatch.setattr("ie_store.estimate.estimators.decode_reader.LEAST_ROWS", 7)
    parts = read_fold(states, listed, fold, 0, OPTIONS)
    np.testing.assert_allclose(parts.ratios, whole.ratios, atol=1e-5)
    assert parts.token_nats == pytest.approx(whole.token_nats, abs=1e-6)


def test_many_tokens_are_counted_in_the_memory():
    few = ItemShape(
        num_rows=20_000, num_sequences=20_000, num_positions=16, num_tokens=25, hidden_size=576, num_blocks=1, threads=2
    )
    many = replace(few, num_tokens=4000)
    spec = estimator_spec("decode")
    features_sums_and_scores = 4 * 16 * (4000 - 25) * (576 + 2 * (576 + 1024))
    assert decode.needs(spec, many).working_bytes - decode.needs(spec, few).working_bytes > features_sums_and_scores
