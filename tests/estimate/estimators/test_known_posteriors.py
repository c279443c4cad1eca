"""Posteriors that are known in closed form or can be enumerated, to a millionth: Gaussian classes, noisy states, past tokens."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from ie_store.estimate.estimators import posterior
from ie_store.estimate.estimators.decode_design import Column, Design, Seen
from ie_store.estimate.estimators.decode_heads import DOUBT, Head, calibrate, one_hot, own_log_ratios
from ie_store.estimate.estimators.noise_outcomes import make_outcomes
from ie_store.estimate.estimators.past_entropies import PastEntropies
from ie_store.estimate.estimators.posterior import posterior_entropies
from ie_store.estimate.exact.past import past_of
from ie_store.prefixes import common_prefix_lengths

SIGMAS = (0.3, 1.0, 2.5)
ATOL = 1e-6


def head_of(tokens, log_shares, weights, norms, coefficients):
    column = Column(position=0, tokens=tokens, log_shares=log_shares, features=torch.zeros((len(log_shares), 1)))
    return Head(column=column, weights=weights, features=None, norms=norms, coefficients=coefficients, validation_nats=0.0)


@pytest.mark.parametrize("seed", range(5))
def test_one_hot_scores_are_the_posterior_of_gaussian_classes(seed):
    """Classes of one covariance, in the principal axes of all rows: Bayes' rule with the densities of another library."""
    rng = np.random.default_rng(seed)
    kinds, size = 6, 4
    shares = rng.dirichlet(np.full(kinds, 4.0))
    means = rng.standard_normal((kinds, size))
    means -= shares @ means
    between = (means * shares[:, None]).T @ means
    axes = np.linalg.eigh(between + np.diag(rng.uniform(0.5, 2, size)))[1]
    means = means @ axes
    within = np.diag(rng.uniform(0.5, 2, size)) if seed == 0 else axes.T @ (np.eye(size) + 0.2) @ axes
    values, turn = np.linalg.eigh(within + (means * shares[:, None]).T @ means)
    means, within = means @ turn, turn.T @ within @ turn
    states = rng.standard_normal((50, size)) * 1.5
    joint = np.stack(
        [np.log(p) + multivariate_normal(m, within).logpdf(states) for p, m in zip(shares, means, strict=True)], axis=1
    )
    truth = joint - logsumexp(joint, axis=1, keepdims=True) - np.log(shares)

    weights, norms = one_hot(torch.from_numpy(means * shares[:, None]), torch.from_numpy(shares), torch.from_numpy(values))
    tokens = torch.from_numpy(rng.integers(0, kinds, 50))
    log_shares = torch.from_numpy(np.log(shares))
    head = head_of(tokens, log_shares, weights.double(), norms.double(), torch.tensor([1.0, -0.5, 0.0], dtype=torch.float64))
    found = own_log_ratios(head, head.scores(torch.from_numpy(states)), tokens)
    np.testing.assert_allclose(found.numpy(), truth[np.arange(50), tokens.numpy()], atol=ATOL)


@pytest.mark.parametrize("kinds", [2, 7])
def test_rows_that_are_all_told_apart_leave_some_doubt(kinds):
    """Each state is one of the axes: of K equal tokens the best reader with doubt d gives the own one 1 - d + d / K."""
    tokens = torch.arange(kinds).repeat(20)
    log_shares = torch.full((kinds,), -float(np.log(kinds)))
    head = head_of(tokens, log_shares, torch.eye(kinds), torch.ones(kinds), torch.zeros(3, dtype=torch.float64))
    states = torch.eye(kinds)[tokens]
    empty = torch.empty(0)
    design = Design(
        rows=empty, mean=empty, inverse=empty, axes=empty, variances=empty, seen=(Seen(shares=empty, sums=empty),),
        validation=torch.arange(len(tokens)), validation_states=states,
        validation_weights=torch.full((len(tokens),), 1 / len(tokens)),
    )  # fmt: skip
    found = calibrate(design, head)
    expected = np.log(1 - DOUBT + DOUBT / kinds) + np.log(kinds)
    np.testing.assert_allclose(own_log_ratios(found, found.scores(states), tokens).numpy(), expected, atol=2e-4)


def test_noisy_states_have_the_entropy_of_their_exact_posterior(monkeypatch):
    """Gaussians of one width around each outcome, weights unequal: Bayes' rule for each drawn state, in float64."""
    monkeypatch.setattr(posterior, "FLOAT32_ERROR", 0.0)
    monkeypatch.setattr(posterior, "TILE", {"cpu": (16, 64)})
    rng = np.random.default_rng(0)
    rows, weights = rng.standard_normal((60, 5)), rng.dirichlet(np.full(60, 2.0))
    outcomes = make_outcomes(torch.from_numpy(rows), torch.arange(5), weights, "std")
    drawn = np.sort(rng.choice(60, 100, p=weights))
    found = posterior_entropies(outcomes, drawn, SIGMAS, (), torch.Generator().manual_seed(1), lambda done: None)
    chance = torch.Generator().manual_seed(1)
    noise = torch.cat([torch.randn((64, 5), generator=chance), torch.randn((36, 5), generator=chance)]).double().numpy()
    states = outcomes.tile(slice(0, 60), torch.float64)[:, :5].numpy()
    for level, sigma in enumerate(SIGMAS):
        noisy = states[drawn] + sigma * noise
        joint = np.log(weights) - ((noisy[:, None] - states) ** 2).sum(axis=2) / (2 * sigma**2)
        log_p = joint - logsumexp(joint, axis=1, keepdims=True)
        np.testing.assert_allclose(found[:, level], -(np.exp(log_p) * log_p).sum(axis=1), atol=ATOL)


def entropy_of_sums(q, keys):
    """Entropy (draw,) of ``q`` (outcome, draw) summed over outcomes of one key, one sum at a time."""
    found = {}
    for key, row in zip(keys, q, strict=True):
        found[key] = found.get(key, 0.0) + row
    p = np.array(list(found.values())) / q.sum(axis=0)
    return -(p * np.log(p)).sum(axis=0)


@pytest.mark.parametrize("height", [1, 7, 200])
def test_sums_over_past_tokens_are_those_of_enumeration(height):
    rng = np.random.default_rng(2)
    tokens = np.unique(rng.integers(0, 4, (150, 4)), axis=0)
    q = rng.gamma(0.3, size=(len(tokens), 9)) + 1e-4
    past = past_of(tokens, common_prefix_lengths(tokens), 3)
    summed = PastEntropies(past, 9, torch.device("cpu"))
    for top in range(0, len(tokens), height):
        rows = slice(top, min(top + height, len(tokens)))
        summed.add(torch.from_numpy(q[rows].astype(np.float32)), rows)
    whole = entropy_of_sums(q, range(len(tokens)))
    found = summed.entropies(torch.from_numpy(whole), torch.from_numpy(q.sum(axis=0))).numpy()
    prefixes = [entropy_of_sums(q, [tuple(row[: t + 1]) for row in tokens.tolist()]) for t in range(4)]
    lone = [entropy_of_sums(q, tokens[:, t].tolist()) for t in range(4)]
    np.testing.assert_allclose(found, np.stack([*prefixes, *lone]), atol=ATOL)
    psi = found[3] - found[4:].sum(axis=0)
    np.testing.assert_allclose(psi, prefixes[3] - np.sum(lone, axis=0), atol=ATOL)
