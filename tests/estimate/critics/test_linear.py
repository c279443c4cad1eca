"""Normal scores, canonical correlations and the networks' layers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from scipy.optimize import isotonic_regression
from scipy.special import ndtr

from ie_store.estimate.critics.baseline import linear_nats
from ie_store.estimate.critics.canonical_correlations import RIDGES, LinearCritic, decreasing_isotonic, fit_linear
from ie_store.estimate.critics.folds import make_folds
from ie_store.estimate.critics.gaussianize import NUM_KNOTS, fit_marginals, normal_scores
from ie_store.estimate.critics.networks import first_layer, make_pair_network, pair_scores
from ie_store.estimate.critics.rows import PairedSlabs, score_rows


def test_normal_scores_rise_and_undo_a_monotone_map():
    values = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0))
    weights = torch.full((4000,), 1 / 4000, dtype=torch.float64)
    images = torch.stack([values[..., 0].exp(), values[..., 1] ** 3, values[..., 2]], -1)
    scores = normal_scores(fit_marginals(images, weights), images)
    inner = values.abs() < 2
    assert (scores - values)[inner].abs().max() < 0.15
    order = images.argsort(0)
    assert (scores.gather(0, order).diff(dim=0) >= 0).all()


def test_a_dimension_without_variance_scores_zero_and_ties_share_a_score():
    values = torch.stack([torch.full((300,), 7.0), torch.arange(300) % 2.0], -1)
    scores = normal_scores(fit_marginals(values, torch.full((300,), 1 / 300, dtype=torch.float64)), values)
    assert (scores[..., 0] == 0).all()
    assert len(scores[..., 1].unique()) == 2


def normal_score(knots, value):
    """Of one dimension, by the definition: lines through the knots, the middle where several are equal, logarithms beyond."""
    levels, width = np.linspace(-3, 3, len(knots)), (knots[-1] - knots[0]) / 6
    first, last = np.searchsorted(knots, value, "left"), np.searchsorted(knots, value, "right")
    if width == 0:
        return 0.0
    if last == 0:
        return -3 - np.log1p((knots[0] - value) / width)
    if first == len(knots):
        return 3 + np.log1p((value - knots[-1]) / width)
    return levels[first:last].mean() if last > first else np.interp(value, knots, levels)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda normal: normal, id="normal"),
        pytest.param(lambda normal: normal**5, id="heavy tails, many knots in a cell"),
        pytest.param(lambda normal: 1000 + 3 * normal, id="far from zero, ties"),
        pytest.param(lambda normal: normal.round(), id="seven values, ties at both ends"),
        pytest.param(lambda normal: normal.relu(), id="ties at the lowest"),
        pytest.param(lambda normal: (normal > 0).float(), id="two values"),
        pytest.param(lambda normal: normal * 0 + 7, id="one value"),
        pytest.param(lambda normal: normal.sign() * 1e-4 * normal.abs() ** 9, id="a millionth of the span apart"),
    ],
)
def test_normal_scores_are_lines_through_quantiles(make):
    rows = make(torch.randn(3000, 4, generator=torch.Generator().manual_seed(0))).half()
    train, values = rows[:2000], rows[2000:]
    found = normal_scores(fit_marginals(train, torch.full((2000,), 1 / 2000, dtype=torch.float64)), values)
    middles = (np.arange(2000) + 0.5) / 2000
    for column in range(4):
        knots = np.interp(ndtr(np.linspace(-3, 3, NUM_KNOTS)), middles, train[:, column].double().sort().values)
        wanted = [normal_score(knots, value) for value in values[:, column].double().numpy()]
        np.testing.assert_allclose(found[:, column], wanted, atol=1e-3)  # shares of rows are summed in float32


@pytest.mark.parametrize("apart", [0.0, 1e3, 1e6, -1e6])
@pytest.mark.parametrize("narrow", [1.0, 1e-3, 1e-6, 1e-30])
def test_normal_scores_of_float32_in_two_clusters_never_fall_and_tell_values_apart(apart, narrow):
    """A narrow cluster far from a wide one: what is measured from elsewhere would lose it to rounding."""
    normal = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    rows = torch.where(torch.rand(4000, generator=torch.Generator().manual_seed(1)) < 0.4, narrow * normal, apart + normal)[
        :, None
    ]
    scores = normal_scores(fit_marginals(rows, torch.full((4000,), 1 / 4000, dtype=torch.float64)), rows)[:, 0]
    assert (scores[rows[:, 0].argsort()].diff() >= 0).all()
    assert len(scores.unique()) > 0.8 * len(rows.unique())


def test_normal_scores_of_values_whose_span_is_all_but_nothing_are_finite():
    rows = 1e-42 * torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    scores = normal_scores(fit_marginals(rows, torch.full((300,), 1 / 300, dtype=torch.float64)), rows)
    assert scores.isfinite().all()


def test_weights_count_as_repeats():
    values = torch.arange(5.0)[:, None]
    counts = torch.tensor([1, 2, 30, 4, 5])
    repeated = values.repeat_interleave(counts, 0)
    weighted = fit_marginals(values, counts.double() / counts.sum())
    plain = fit_marginals(repeated, torch.full((42,), 1 / 42, dtype=torch.float64))
    assert torch.allclose(normal_scores(weighted, values), normal_scores(plain, values), atol=0.35)


def test_falling_is_isotonic_regression():
    values = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    for found, row in zip(decreasing_isotonic(values), values, strict=True):
        assert np.allclose(found, isotonic_regression(row.numpy(), increasing=False).x, atol=1e-5)


@given(arrays_of.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 30)), elements=st.floats(-1, 1)))
def test_falling_of_anything_is_isotonic_regression_and_of_the_falling_itself(values):
    found = decreasing_isotonic(torch.from_numpy(values))
    for ours, row in zip(found, values, strict=True):
        assert np.allclose(ours, isotonic_regression(row, increasing=False).x, atol=1e-12)
    assert torch.allclose(decreasing_isotonic(found), found, atol=1e-12)


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.0])
def test_the_linear_critic_is_the_log_density_ratio_of_a_gaussian(strength):
    rho = torch.tensor([[0.9, 0.4]])
    eye, nothing = torch.eye(2)[None], torch.zeros(1, 2)
    critic = LinearCritic(x_map=eye, y_map=eye, x_shift=nothing, y_shift=nothing, correlations=rho).weakened(strength)
    x, y = torch.randn(2, 1, 5, 2, generator=torch.Generator().manual_seed(0))
    factors = critic.factors(x, y)
    expected = torch.zeros(5, 5)
    for pair in range(2):
        covariance = torch.tensor([[1.0, rho[0, pair] * strength], [rho[0, pair] * strength, 1.0]])
        joint = torch.distributions.MultivariateNormal(torch.zeros(2), covariance)
        one = torch.distributions.Normal(0.0, 1.0)
        points = torch.stack(torch.broadcast_tensors(x[0, :, None, pair], y[0, None, :, pair]), -1)
        expected += joint.log_prob(points) - one.log_prob(points).sum(-1)
    assert torch.allclose(factors.against(factors)[0], expected, atol=1e-4)


def test_one_critic_for_every_ridge_and_no_direction_from_a_constant_dimension():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 400, 3, generator=generator)
    x[..., 1] = 0
    y = x + 0.5 * torch.randn(1, 400, 3, generator=generator)
    fold = make_folds(np.arange(400), None, 2, 0)[0]
    rows = score_rows(PairedSlabs.of(x, y), fold.train)
    critics = fit_linear(rows, fold.train, fold.validation)
    assert len(critics) == len(RIDGES)
    for critic in critics:
        correlations = critic.correlations[0]
        assert (correlations.diff() <= 0).all()
        assert correlations[:2].min() > 0.8
        assert correlations[2] < 0.3
        assert (critic.x_map[0, 1] == 0).all()
        v = (rows.at(fold.validation.rows)[1] @ critic.y_map - critic.y_shift[:, None])[0]
        assert v.mean(0).abs().max() < 1e-4
        assert torch.allclose(v.std(0, correction=0), torch.ones(3), atol=1e-3)


@pytest.mark.parametrize(("size", "pairs", "nats", "share"), [(16, 16, 2.0, 0.9), (64, 2, 5.0, 0.9), (64, 64, 5.0, 0.8)])
def test_canonical_correlations_recover_gaussian_information(size, pairs, nats, share):
    generator = torch.Generator().manual_seed(1)
    correlation = math.sqrt(1 - math.exp(-2 * nats / pairs))
    x, y = (torch.randn(2, 6000, size, generator=generator) for _ in range(2))
    y[..., :pairs] = correlation * x[..., :pairs] + math.sqrt(1 - correlation**2) * y[..., :pairs]
    fold = make_folds(np.arange(6000), None, 2, 0)[0]
    test, _, scores = linear_nats(score_rows(PairedSlabs.of(x, y), fold.train), fold)
    assert (test > share * nats).all()
    assert (test < nats + 0.2).all()
    assert torch.allclose(scores.mean(1), test, atol=1e-4)


@pytest.mark.parametrize("size", [16, 256])
def test_shrinkage_leaves_nothing_of_independent_rows(size):
    x, y = (torch.randn(1, 5000, size, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    fold = make_folds(np.arange(5000), None, 2, 0)[0]
    assert linear_nats(score_rows(PairedSlabs.of(x, y), fold.train), fold)[0].abs().item() < 0.02


def test_the_factorised_first_layer_is_the_published_one():
    generator = torch.Generator().manual_seed(0)
    network = {name: tensor.double() for name, tensor in make_pair_network(2, 5, 3, generator).items()}
    x, y = (torch.randn(2, 10, size, generator=generator, dtype=torch.float64) for size in (5, 3))
    part_x, part_y = first_layer(network, x, y)
    values = torch.cat([x, y], -1) @ torch.cat([network["x"], network["y"]], 1) + network["bias0"]
    for layer in range(1, 10):
        values = torch.nn.functional.leaky_relu(values) @ network[f"weight{layer}"] + network[f"bias{layer}"]
    assert torch.allclose(pair_scores(network, part_x + part_y), values[..., 0], atol=1e-12)


def test_fewer_rows_than_dimensions_are_fitted_within_their_span(monkeypatch):
    from ie_store.estimate.critics import canonical_correlations

    generator = torch.Generator().manual_seed(4)
    x = torch.randn(20, 64, generator=generator)
    y = torch.tanh(x @ torch.randn(64, 48, generator=generator) / 8)
    fold = make_folds(np.arange(600), np.arange(600) % 20, 2, 0)[0]
    rows = score_rows(PairedSlabs.of([x], [y]), fold.train)
    within = fit_linear(rows, fold.train, fold.validation)
    monkeypatch.setattr(canonical_correlations, "_within_span", lambda rows: (rows, [None, None]))
    whole = fit_linear(rows, fold.train, fold.validation)
    everything = rows.at(torch.arange(20))
    for few, many in zip(within, whole, strict=True):
        assert few.x_map.shape == (1, 64, 20)
        assert torch.allclose(few.correlations, many.correlations[:, :20], atol=1e-3)
        found, expected = (critic.weakened(0.8).factors(*everything) for critic in (few, many))
        assert torch.allclose(found.against(found), expected.against(expected), rtol=0.02, atol=0.2)
