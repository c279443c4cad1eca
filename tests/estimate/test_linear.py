"""Normal scores, canonical correlations and the networks' layers."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import isotonic_regression

from ie_store.estimate.base import Rows, linear_nats, score_rows
from ie_store.estimate.critic import first_layer, make_pair_network, pair_scores
from ie_store.estimate.linear import falling
from ie_store.estimate.marginals import fit_marginals, normal_scores
from ie_store.estimate.split import make_folds


def test_normal_scores_rise_and_undo_a_monotone_map():
    values = torch.randn(1, 4000, 3, generator=torch.Generator().manual_seed(0))
    weights = torch.full((4000,), 1 / 4000, dtype=torch.float64)
    images = torch.stack([values[..., 0].exp(), values[..., 1] ** 3, values[..., 2]], -1)
    scores = normal_scores(fit_marginals(images, weights), images)
    inner = values.abs() < 2
    assert (scores - values)[inner].abs().max() < 0.15
    order = images[0].argsort(0)
    assert (scores[0].gather(0, order).diff(dim=0) >= 0).all()


def test_a_dimension_without_variance_scores_zero_and_ties_share_a_score():
    values = torch.stack([torch.full((300,), 7.0), torch.arange(300) % 2.0], -1)[None]
    scores = normal_scores(fit_marginals(values, torch.full((300,), 1 / 300, dtype=torch.float64)), values)
    assert (scores[..., 0] == 0).all()
    assert len(scores[..., 1].unique()) == 2


def test_weights_count_as_repeats():
    values = torch.arange(5.0)[None, :, None]
    counts = torch.tensor([1, 2, 30, 4, 5])
    repeated = values.repeat_interleave(counts, 1)
    weighted = fit_marginals(values, counts.double() / counts.sum())
    plain = fit_marginals(repeated, torch.full((42,), 1 / 42, dtype=torch.float64))
    assert torch.allclose(normal_scores(weighted, values), normal_scores(plain, values), atol=0.35)


def test_falling_is_isotonic_regression():
    values = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    for found, given in zip(falling(values), values, strict=True):
        assert np.allclose(found, isotonic_regression(given.numpy(), increasing=False).x, atol=1e-5)


@pytest.mark.parametrize(("size", "pairs", "nats", "share"), [(16, 16, 2.0, 0.9), (64, 2, 5.0, 0.9), (64, 64, 5.0, 0.8)])
def test_canonical_correlations_recover_gaussian_information(size, pairs, nats, share):
    generator = torch.Generator().manual_seed(1)
    correlation = math.sqrt(1 - math.exp(-2 * nats / pairs))
    x, y = (torch.randn(2, 6000, size, generator=generator) for _ in range(2))
    y[..., :pairs] = correlation * x[..., :pairs] + math.sqrt(1 - correlation**2) * y[..., :pairs]
    fold = make_folds(np.arange(6000), None, 2, 0)[0]
    test, _, scores = linear_nats(score_rows(x, y, fold.train), fold)
    assert (test > share * nats).all()
    assert (test < nats + 0.2).all()
    assert torch.allclose(scores.mean(1), test, atol=1e-4)


@pytest.mark.parametrize("size", [16, 256])
def test_shrinkage_leaves_nothing_of_independent_rows(size):
    x, y = (torch.randn(1, 5000, size, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    fold = make_folds(np.arange(5000), None, 2, 0)[0]
    assert linear_nats(Rows(x=x, y=y), fold)[0].abs().item() < 0.02


def test_the_factorised_first_layer_is_the_published_one():
    generator = torch.Generator().manual_seed(0)
    network = {name: tensor.double() for name, tensor in make_pair_network(2, 5, 3, generator).items()}
    x, y = (torch.randn(2, 10, size, generator=generator, dtype=torch.float64) for size in (5, 3))
    part_x, part_y = first_layer(network, x, y)
    values = torch.cat([x, y], -1) @ torch.cat([network["x"], network["y"]], 1) + network["bias0"]
    for layer in range(1, 10):
        values = torch.nn.functional.leaky_relu(values) @ network[f"weight{layer}"] + network[f"bias{layer}"]
    assert torch.allclose(pair_scores(network, part_x + part_y), values[..., 0], atol=1e-12)
