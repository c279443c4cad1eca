"""Sums over listed prefixes and the tempers of `decode`, against enumeration in float64."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

from ie_store.estimate.estimators import decode_list
from ie_store.estimate.estimators.decode_list import fit_tempers, log_ratios
from ie_store.estimate.estimators.decode_tree import make_tree

RNG = np.random.default_rng(1)


def unequal(tokens):
    """Some of the prefixes only, so that nodes have from one child to all."""
    return tokens[np.sort(RNG.permutation(len(tokens))[: 2 * len(tokens) // 3])]


def with_constant(tokens, positions):
    return np.insert(tokens, positions, 7, axis=1)


PERMUTATIONS = np.array(list(itertools.permutations(range(6), 4)))
LISTS = {
    "few": np.unique(RNG.integers(0, 4, (60, 5)), axis=0),
    "permutations": PERMUTATIONS,
    "permutations, some": unequal(PERMUTATIONS),
    "positions of one token": with_constant(PERMUTATIONS, [0, 1, 2, 3, 4]),
    "chains of single children": np.unique(RNG.integers(0, 300, (200, 4)), axis=0),
    "a chain, then many": np.array([(a, 3 * a + 1, (5 * a) % 7, b) for a in range(12) for b in range(9)]),
    "many, then a chain": np.array([(a, b, (a * b) % 5, a + b) for a in range(12) for b in range(9)]),
    "one position": np.arange(30)[:, None],
}
TABLES = {"permutations", "permutations, some", "positions of one token", "a chain, then many"}


def listed(name, scale=3.0, num_states=23, seed=0):
    """Tree, columns (outcome,), scores (state, token), own prefixes (state,) and log shares (outcome,)."""
    rng, tokens = np.random.default_rng(seed), LISTS[name]
    log_shares = np.log(rng.dirichlet(np.ones(len(tokens))))
    positions = [t for t in range(tokens.shape[1]) if len(np.unique(tokens[:, t])) > 1]
    columns = [np.unique(tokens[:, t], return_inverse=True)[1] for t in positions]
    scores = [scale * rng.standard_normal((num_states, column.max() + 1)) for column in columns]
    own = rng.integers(0, len(tokens), num_states)
    tree = make_tree(tokens, [torch.from_numpy(column) for column in columns], positions, torch.from_numpy(log_shares))
    return tree, columns, scores, own, log_shares


def enumerated(columns, scores, own, log_shares):
    whole = log_shares + sum(part[:, column] for part, column in zip(scores, columns, strict=True))
    return whole[np.arange(len(own)), own] - logsumexp(whole, axis=1) - log_shares[own]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("scale", [0.1, 3.0, 60.0, 2000.0])
def test_sums_over_the_list_equal_enumeration(name, scale):
    tree, columns, scores, own, log_shares = listed(name, scale)
    found = log_ratios(tree, [torch.from_numpy(part) for part in scores], torch.from_numpy(own))
    np.testing.assert_allclose(found.numpy(), enumerated(columns, scores, own, log_shares), rtol=1e-6, atol=1e-6)
    assert (tree.last is not None) == (name in TABLES)


@pytest.mark.parametrize("name", ["permutations", "chains of single children"])
def test_a_list_that_is_long_for_the_memory_is_summed_for_fewer_states_at_once(name, monkeypatch):
    tree, columns, scores, own, log_shares = listed(name)
    assert [decode_list.least_tile(nodes) for nodes in (25, 303_600, 10**6, 10**9)] == [32, 32, 10, 1]
    widths, sums = [], decode_list._log_sums

    def watched(tree, last, parts):
        widths.append(parts[0].shape[1])
        return sums(tree, last, parts)

    monkeypatch.setattr(decode_list, "_log_sums", watched)
    monkeypatch.setattr(decode_list, "TILE_VALUES", {"cpu": 1})
    monkeypatch.setattr(decode_list, "MOST_VALUES", 5 * tree.num_nodes)
    found = log_ratios(tree, [torch.from_numpy(part) for part in scores], torch.from_numpy(own))
    np.testing.assert_allclose(found.numpy(), enumerated(columns, scores, own, log_shares), rtol=1e-6, atol=1e-6)
    assert widths == [5, 5, 5, 5, 3]


def test_a_last_token_that_no_likely_prefix_has_is_not_lost():
    """Each state is sure of one name at all positions, and no permutation repeats it: what is left decides."""
    tree, columns, scores, own, log_shares = listed("permutations", 1.0)
    for part in scores:
        part[np.arange(23), np.arange(23) % 6] += 300.0
    single = make_tree_in_float32("permutations", log_shares)
    for of_type, atol in ((tree, 1e-9), (single, 3e-4)):
        parts = [torch.from_numpy(part).to(of_type.log_shares.dtype) for part in scores]
        found = log_ratios(of_type, parts, torch.from_numpy(own))
        np.testing.assert_allclose(found.numpy(), enumerated(columns, scores, own, log_shares), rtol=1e-6, atol=atol)


def test_states_that_the_last_tokens_lose_meet_all_prefixes_a_few_at_a_time(monkeypatch):
    """As above, with room for five of the 23 beside the list: tempers and sums are those of all at once."""
    tree, _, scores, own, log_shares = listed("permutations", 1.0)
    for part in scores:
        part[np.arange(23), np.arange(23) % 6] += 300.0
    parts, own = [torch.from_numpy(part) for part in scores], torch.from_numpy(own)
    whole, tempers = log_ratios(tree, parts, own), fit_tempers(tree, parts, own, torch.full((23,), 1 / 23))
    widths, sums = [], decode_list._log_sums

    def watched(tree, last, parts):
        widths.append((last is None, parts[0].shape[1]))
        return sums(tree, last, parts)

    monkeypatch.setattr(decode_list, "_log_sums", watched)
    monkeypatch.setattr(decode_list, "TILE_VALUES", {"cpu": 1})
    monkeypatch.setattr(decode_list, "MOST_VALUES", 5 * len(log_shares))
    np.testing.assert_allclose(log_ratios(tree, parts, own), whole, rtol=1e-9)
    assert widths[:2] == [(False, 15), (True, 5)]
    assert max(width for is_fallback, width in widths if is_fallback) == 5
    np.testing.assert_allclose(fit_tempers(tree, parts, own, torch.full((23,), 1 / 23)), tempers, rtol=1e-6)


@pytest.mark.parametrize("name", ["permutations, some", "chains of single children"])
def test_single_precision_is_enough(name):
    tree, columns, scores, own, log_shares = listed(name, num_states=200)
    single = make_tree_in_float32(name, log_shares)
    found = log_ratios(single, [torch.from_numpy(part).float() for part in scores], torch.from_numpy(own))
    np.testing.assert_allclose(found.numpy(), enumerated(columns, scores, own, log_shares), rtol=2e-6, atol=1e-5)
    assert (single.last is None) == (tree.last is None)
    assert float(found.max() + log_shares.min()) <= 0


def make_tree_in_float32(name, log_shares):
    tokens = LISTS[name]
    columns = [torch.from_numpy(np.unique(column, return_inverse=True)[1]) for column in tokens.T]
    return make_tree(tokens, columns, list(range(tokens.shape[1])), torch.from_numpy(log_shares).float())


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("sure", [0.0, 80.0])
def test_tempers_are_those_that_a_general_optimiser_finds(name, sure):
    tree, columns, scores, _, log_shares = listed(name, 1.5, num_states=90)
    rng = np.random.default_rng(3)
    for part in scores:  # of one token everywhere, though no permutation repeats it
        part[np.arange(90), np.arange(90) % min(part.shape[1], 6)] += sure
    truth = rng.uniform(0.7, 1.4, len(scores))
    whole = log_shares + sum(t * part[:, column] for t, part, column in zip(truth, scores, columns, strict=True))
    own = (whole + rng.gumbel(size=whole.shape)).argmax(axis=1)
    weights = rng.dirichlet(np.full(90, 5.0))

    def loss(tempers):
        ratios = enumerated(columns, [t * part for t, part in zip(tempers, scores, strict=True)], own, log_shares)
        return -weights @ ratios + np.square(tempers - 1).sum() / 90 / 2

    best = minimize(loss, np.ones(len(scores)), method="BFGS", options={"gtol": 1e-6})
    found = fit_tempers(tree, [torch.from_numpy(part) for part in scores], torch.from_numpy(own), torch.from_numpy(weights))
    assert loss(found.numpy()) == pytest.approx(best.fun, abs=2e-5)
    assert sure or loss(found.numpy()) < loss(np.ones(len(scores))) - 1e-3
