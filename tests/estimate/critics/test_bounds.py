"""Bounds and their losses against the published formulas, spelled out over whole matrices in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ie_store.estimate.critics.bounds import (
    PairStatistics,
    infonce,
    loss,
    resolution_floor,
    smile,
    tuba,
    validation_nats,
)
from ie_store.estimate.critics.pairing import Pairing

BOUNDS = ("mine", "infonce", "nwj", "smile", "js")
NOTHING = torch.zeros(1, dtype=torch.float64)
many = given(seed=st.integers(0, 10_000), size=st.integers(2, 9), is_weighted=st.booleans(), spread=st.floats(0.1, 3.0))


def weights_of(size, is_weighted, seed=0):
    """Probabilities of rows: any for a table, shares of repeated sequences for a draw."""
    counts = np.random.default_rng(seed).integers(1, 9 if is_weighted else 3, size)
    return counts / counts.sum()


def joint_weights(p, is_weighted):
    """Weight of every pair (i, j) under the product of the marginals; a draw leaves out its own pairs."""
    weights = np.outer(p, p)
    if not is_weighted:
        np.fill_diagonal(weights, 0)
    return weights / weights.sum()


def scores_of(size, seed, spread=1.0):
    return spread * np.random.default_rng(seed).standard_normal((size, size))


def found(scores, p, is_weighted):
    """`PairStatistics` of one problem whose scores (row, row) stay a tensor that can be differentiated."""
    scores, p = torch.as_tensor(scores), torch.from_numpy(p)
    exponentials, pairing = scores.exp(), Pairing.of(p, is_weighted, len(p))
    others = p
    if not is_weighted:
        exponentials = exponentials * (1 - torch.eye(len(p), dtype=p.dtype))
        others = p / (1 - p.square().sum())
    statistics = PairStatistics(
        joint=scores.diagonal()[None],
        row_means=(exponentials @ others)[None],
        column_means=(others @ exponentials)[None],
        pairing=pairing,
    )
    return statistics, exponentials[None]


def value_and_influence(pair):
    nats, influence = pair
    return nats.item(), influence[0].numpy()


@many
def test_marginal_and_joint_means(seed, size, is_weighted, spread):
    scores, p = scores_of(size, seed, spread), weights_of(size, is_weighted, seed)
    statistics, _ = found(scores, p, is_weighted)
    assert statistics.log_marginal.item() == pytest.approx(math.log((joint_weights(p, is_weighted) * np.exp(scores)).sum()))
    assert statistics.mean_joint.item() == pytest.approx((p * scores.diagonal()).sum())


@many
def test_the_constant_form_is_tuba(seed, size, is_weighted, spread):
    scores, p, log_a = scores_of(size, seed, spread), weights_of(size, is_weighted, seed), 0.3
    ratios = np.exp(scores - log_a)
    weights = joint_weights(p, is_weighted)
    expected = p @ scores.diagonal() - log_a - (weights * ratios).sum() + 1
    statistics, _ = found(scores, p, is_weighted)
    nats, influence = value_and_influence(tuba(statistics, torch.tensor([log_a], dtype=torch.float64)))
    assert nats == pytest.approx(expected)
    mean = (weights * ratios).sum()
    for row in range(size):
        own = ((weights[row] @ ratios[row]) + (weights[:, row] @ ratios[:, row])) / p[row]
        assert influence[row] == pytest.approx(scores[row, row] - log_a + 1 - own + mean)


@many
def test_infonce_is_the_contrastive_bound(seed, size, is_weighted, spread):
    scores, p = scores_of(size, seed, spread), weights_of(size, is_weighted, seed)
    statistics, _ = found(scores, p, is_weighted)
    nats, influence = value_and_influence(infonce(statistics))
    expected = scores.diagonal() - np.log(np.exp(scores) @ p)
    assert np.allclose(influence, expected)
    assert nats == pytest.approx(p @ expected)
    assert nats <= -math.log(p.min()) + 1e-12


@many
def test_smile_clips_the_negatives_alone(seed, size, is_weighted, spread):
    scores, p = scores_of(size, seed, spread), weights_of(size, is_weighted, seed)
    clipped = np.clip(scores, -1, 1)
    ratios, weights = np.exp(clipped), joint_weights(p, is_weighted)
    mean = (weights * ratios).sum()
    nats, influence = value_and_influence(smile(found(scores, p, is_weighted)[0], found(clipped, p, is_weighted)[0]))
    assert nats == pytest.approx(p @ scores.diagonal() - math.log(mean))
    for row in range(size):
        own = ((weights[row] @ ratios[row]) + (weights[:, row] @ ratios[:, row])) / p[row]
        assert influence[row] == pytest.approx(scores[row, row] - math.log(mean) - own / mean + 2)


def test_the_influence_is_what_a_little_more_of_a_row_adds():
    """The derivative of the value by a row's weight, the marginals' weights moving with it: a table's, exactly."""
    scores, p, step = scores_of(6, 3), weights_of(6, True, 3), 1e-6
    log_a = torch.tensor([0.2], dtype=torch.float64)
    for bound in (lambda s: tuba(s, log_a), lambda s: smile(s, s)):
        nats, influence = value_and_influence(bound(found(scores, p, True)[0]))
        for row in range(6):
            more = (1 - step) * p + step * np.eye(6)[row]
            moved = bound(found(scores, more, True)[0])[0].item()
            assert (moved - nats) / step == pytest.approx(influence[row] - nats, abs=1e-4)


def test_bounds_of_the_perfect_critic_of_a_gaussian_give_its_information():
    """Scores are the true log-density ratio: each value is the truth within sampling error, NWJ with e taken out too."""
    rho, size = 0.8, 3000
    truth = -0.5 * math.log(1 - rho**2)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(size)
    y = rho * x + math.sqrt(1 - rho**2) * rng.standard_normal(size)
    scores = truth - (rho**2 * (x[:, None] ** 2 + y**2) - 2 * rho * x[:, None] * y) / (2 * (1 - rho**2))
    p = np.full(size, 1 / size)
    statistics, _ = found(scores, p, False)
    assert validation_nats("mine", statistics).item() == pytest.approx(truth, abs=0.05)
    assert validation_nats("infonce", statistics).item() == pytest.approx(truth, abs=0.05)
    assert validation_nats("nwj", found(scores, p, False)[0]).item() == pytest.approx(truth, abs=0.05)


@many
def test_the_value_shown_while_training(seed, size, is_weighted, spread):
    scores, p = scores_of(size, seed, spread), weights_of(size, is_weighted, seed)
    statistics, _ = found(scores, p, is_weighted)
    marginal = (joint_weights(p, is_weighted) * np.exp(scores)).sum()
    donsker_varadhan = p @ scores.diagonal() - math.log(marginal)
    for bound in ("mine", "smile", "js"):
        assert validation_nats(bound, statistics).item() == pytest.approx(donsker_varadhan)
    assert validation_nats("nwj", statistics).item() == pytest.approx(p @ scores.diagonal() - marginal + 1)
    assert validation_nats("infonce", statistics).item() == infonce(statistics)[0].item()


@pytest.mark.parametrize("name", ["donsker-varadhan", "", None])
def test_a_bound_that_is_none_is_refused(name):
    statistics, exponentials = found(scores_of(3, 0), weights_of(3, True), True)
    with pytest.raises(AssertionError, match="unreachable"):
        validation_nats(name, statistics)
    with pytest.raises(AssertionError, match="unreachable"):
        loss(name, statistics, exponentials, NOTHING)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_losses_by_their_formulas(is_weighted):
    scores, p, log_average = scores_of(5, 1), weights_of(5, is_weighted, 1), 0.4
    weights = joint_weights(p, is_weighted)
    joint, average = scores.diagonal(), torch.tensor([log_average], dtype=torch.float64)
    donsker_varadhan = (weights * np.exp(scores)).sum() / math.exp(log_average) - p @ joint
    jensen_shannon = p @ np.log1p(np.exp(-joint)) + (weights * np.log1p(np.exp(scores))).sum()
    both_ways = (np.log(np.exp(scores) @ p) + np.log(p @ np.exp(scores))) / 2
    expected = {
        "mine": donsker_varadhan,
        "nwj": donsker_varadhan,
        "js": jensen_shannon,
        "smile": jensen_shannon,
        "infonce": p @ (both_ways - joint),
    }
    for bound in BOUNDS:
        assert loss(bound, *found(scores, p, is_weighted), average).item() == pytest.approx(expected[bound]), bound


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("bound", BOUNDS)
def test_gradients_of_losses_by_finite_differences(bound, is_weighted):
    scores, p = torch.from_numpy(scores_of(4, 2)), weights_of(4, is_weighted, 2)
    average = torch.tensor([0.4], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: loss(bound, *found(s, p, is_weighted), average), scores.requires_grad_())


def test_the_gradient_by_its_own_mean_is_that_of_donsker_and_varadhan():
    scores, p = torch.from_numpy(scores_of(5, 4)).requires_grad_(), weights_of(5, False, 4)
    statistics, exponentials = found(scores, p, False)
    mean = statistics.log_marginal.detach()
    (ours,) = torch.autograd.grad(loss("mine", statistics, exponentials, mean).sum(), scores, retain_graph=True)
    (theirs,) = torch.autograd.grad(-validation_nats("mine", statistics).sum(), scores)
    assert torch.allclose(ours, theirs)


@pytest.mark.parametrize("bound", ["mine", "nwj", "js", "smile", "infonce"])
def test_the_true_density_ratio_is_where_a_table_loses_least(bound):
    """A discrete pair with y = x: ln 1/p on the diagonal, and as little as can be said elsewhere, has no gradient left."""
    p = weights_of(4, True, 5)
    scores = torch.full((4, 4), -30.0, dtype=torch.float64)
    scores[range(4), range(4)] = torch.from_numpy(-np.log(p))
    scores.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(bound, *found(scores, p, True), NOTHING).sum(), scores)
    assert gradient.abs().max() < 1e-10


@given(st.floats(-5, 30), st.integers(2, 10**6), st.floats(0, 20))
def test_above_the_floor_the_constant_form_stays_below_ln_rows(mean_joint, num_rows, more):
    log_constant = resolution_floor(torch.tensor([mean_joint], dtype=torch.float64), num_rows) + more
    best = mean_joint - log_constant.item() + 1
    assert best <= math.log(num_rows) + 1e-9
    assert resolution_floor(torch.zeros(1), 1).item() == 1.0
