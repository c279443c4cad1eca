"""Trained heads of `decode`: what they add, that they add nothing where there is nothing, and when they are left alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from ie_store.estimate.estimators import decode_reader, decode_training
from ie_store.estimate.estimators.decode_design import make_design
from ie_store.estimate.estimators.decode_heads import fit_head
from ie_store.estimate.estimators.decode_reader import list_prefixes, read_fold, split_prefixes
from ie_store.estimate.exact.prefix_index import DistinctPrefixes
from ie_store.estimator_options import DecodeOptions

OPTIONS = DecodeOptions(folds=2)
NOISE = 0.5


def pairs_of_rare_tokens(seed=0, num_rows=3000, kinds=150):
    """Two tokens a row, states that show a curved part of their features, and the true mean of ln p(s|h) / p(s)."""
    rng = np.random.default_rng(seed)
    alone = rng.standard_normal((kinds, 40))
    tokens = np.unique(rng.integers(0, kinds, (num_rows, 2)), axis=0)
    shown = np.concatenate([3.0 * np.tanh(3 * alone[:, :4]), 0.2 * alone[:, 4:12]], axis=1)
    whole = np.concatenate([shown[tokens[:, 0]], shown[tokens[:, 1]]], axis=1)
    states = whole + NOISE * rng.standard_normal(whole.shape)
    away = ((states[:, None] - whole[None]) ** 2).sum(axis=2) / (-2 * NOISE**2)
    truth = (np.diagonal(away) - logsumexp(away, axis=1)).mean() + np.log(len(tokens))
    listed = list_prefixes(tokens, np.ones(len(tokens), dtype=int), torch.from_numpy(alone.astype(np.float32)))
    numbers = np.arange(len(tokens))
    folds = split_prefixes(DistinctPrefixes(of_sequence=numbers, first_rows=numbers, counts=np.ones(len(tokens), int)), OPTIONS)
    return torch.from_numpy(states.astype(np.float32)), listed, folds, truth


def read(states, listed, folds):
    return [read_fold(states, listed, fold, number, OPTIONS) for number, fold in enumerate(folds)]


@pytest.mark.slow
def test_trained_heads_read_more_than_those_in_closed_form_and_no_more_than_there_is(monkeypatch):
    states, listed, folds, truth = pairs_of_rare_tokens()
    trained = read(states, listed, folds)
    monkeypatch.setattr(decode_reader, "ENOUGH", 0.0)
    closed = read(states, listed, folds)
    assert [reading.is_trained for reading in trained] == [True, True]
    assert [reading.is_trained for reading in closed] == [False, False]
    for more, less in zip(trained, closed, strict=True):
        assert less.nats + 0.1 < more.nats < truth
    assert min(r.token_nats[0] for r in trained) > max(r.token_nats[0] for r in closed)


def test_training_follows_its_seed_alone():
    states, listed, folds, _ = pairs_of_rare_tokens(num_rows=1200, kinds=80)
    first, again = (read_fold(states, listed, folds[0], 0, OPTIONS) for _ in range(2))
    other = read_fold(states, listed, folds[0], 0, replace(OPTIONS, seed=1))
    assert first.nats == again.nats
    assert (first.ratios == again.ratios).all()
    assert first.nats != other.nats


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_shuffled_states_tell_nothing_and_nothing_trained_is_kept(seed):
    states, listed, folds, _ = pairs_of_rare_tokens(seed)
    shuffled = states[torch.from_numpy(np.random.default_rng(seed).permutation(len(states)))]
    found = read(shuffled, listed, folds)
    assert not any(reading.is_trained for reading in found)
    assert all(-0.05 < reading.nats < 0.02 for reading in found)


def test_what_is_read_already_is_not_trained(monkeypatch):
    states, listed, folds, _ = pairs_of_rare_tokens(num_rows=600, kinds=60)
    exact = torch.zeros((len(states), 60 * 2))
    exact[torch.arange(len(states)), listed.columns[0].tokens] = 1
    exact[torch.arange(len(states)), 60 + listed.columns[1].tokens] = 1

    def refuse(*_):
        raise AssertionError("trained")

    monkeypatch.setattr(decode_reader, "train_heads", refuse)
    assert min(reading.nats for reading in read(exact, listed, folds)) > 0.99 * np.log(len(states))
    with pytest.raises(AssertionError, match="trained"):
        read(states, listed, folds)


def test_training_starts_from_the_closed_form(monkeypatch):
    states, listed, folds, _ = pairs_of_rare_tokens(num_rows=800)
    design = make_design(states, folds[0], listed.columns)
    heads = [fit_head(design, column, seen) for column, seen in zip(listed.columns, design.seen, strict=True)]
    monkeypatch.setattr(decode_training, "RATE", 0.0)
    monkeypatch.setattr(decode_training, "MOST_PASSES", 1)
    started = decode_training.train_heads(design, folds[0], heads, 0, lambda _: 0.0)
    for head, at_start in zip(heads, started, strict=True):
        expected = head.scores(design.validation_states)
        torch.testing.assert_close(at_start.scores(design.validation_states), expected, rtol=1e-3, atol=1e-3)
