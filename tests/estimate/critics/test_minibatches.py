"""Mini-batches of a table: what is drawn more than once counts as often, spelled out draw by draw."""

import numpy as np
import pytest
import torch

from ie_store.estimate.critics.baseline import matrix_statistics
from ie_store.estimate.critics.bounds import loss
from ie_store.estimate.critics.minibatches import batches
from ie_store.estimate.critics.scores import SplitPart

BOUNDS = ("mine", "infonce", "nwj", "smile", "js")
CAP = torch.tensor([50.0], dtype=torch.float64)


def table(num_rows, seed):
    shares = np.random.default_rng(seed).dirichlet(np.full(num_rows, 0.3))
    return SplitPart(
        rows=torch.arange(10, 10 + num_rows, dtype=torch.int32),
        probabilities=torch.from_numpy(shares),
        num_sequences=1000,
        is_weighted=True,
    )


def drawn(num_rows, size, seed):
    return next(batches(table(num_rows, seed), size, torch.Generator().manual_seed(seed)))


def draw_by_draw(batch):
    """(draw,) the place in ``batch`` of each draw's row."""
    counts = (batch.probabilities * batch.num_draws).round()
    assert torch.allclose(counts / batch.num_draws, batch.probabilities)
    return torch.repeat_interleave(torch.arange(len(counts)), counts.long())


def losses(scores, average):
    """The published losses over n draws, each of which meets all draws but itself; InfoNCE all n."""
    n = len(scores)
    others = (1 - np.eye(n)) / (n * (n - 1))
    joint = np.diag(scores)
    donsker_varadhan = (others * np.exp(scores)).sum() / np.exp(average) - joint.mean()
    jensen_shannon = np.log1p(np.exp(-joint)).mean() + (others * np.log1p(np.exp(scores))).sum()
    both_ways = (np.log(np.exp(scores).mean(0)) + np.log(np.exp(scores).mean(1))) / 2
    return {
        "mine": donsker_varadhan,
        "nwj": donsker_varadhan,
        "js": jensen_shannon,
        "smile": jensen_shannon,
        "infonce": (both_ways - joint).mean(),
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bound", BOUNDS)
def test_a_loss_counts_every_draw(bound, seed):
    batch = drawn(9, 8, seed)
    places = draw_by_draw(batch)
    assert len(batch.rows) < len(places) == 8
    scores = torch.from_numpy(2 * np.random.default_rng(seed).standard_normal((len(batch.rows), len(batch.rows))))
    found, exponentials = matrix_statistics(scores[None], batch, CAP)
    ours = loss(bound, found, exponentials, torch.tensor([0.3], dtype=torch.float64))
    assert ours.item() == pytest.approx(losses(scores.numpy()[np.ix_(places, places)], 0.3)[bound], rel=1e-12)


@pytest.mark.parametrize("bound", BOUNDS)
def test_its_gradient_by_finite_differences(bound):
    batch = drawn(9, 8, 1)
    scores = torch.from_numpy(np.random.default_rng(1).standard_normal((1, len(batch.rows), len(batch.rows))))
    average = torch.tensor([0.4], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: loss(bound, *matrix_statistics(s, batch, CAP), average), scores.requires_grad_())


def test_rows_come_by_their_shares_each_once():
    side = table(7, 3)
    stream = batches(side, 6, torch.Generator().manual_seed(0))
    shares = torch.zeros(7, dtype=torch.float64)
    for _ in range(4000):
        batch = next(stream)
        assert (batch.rows.diff() > 0).all()
        assert batch.probabilities.sum().item() == pytest.approx(1)
        shares[batch.rows.long() - 10] += batch.probabilities / 4000
    assert torch.allclose(shares, side.probabilities, atol=4 * 0.5 / 24_000**0.5)


def test_a_table_that_fits_is_taken_whole_and_a_draw_once_per_pass():
    side = table(6, 0)
    assert next(batches(side, 6, torch.Generator())) is side
    rows = torch.arange(20, 27, dtype=torch.int32)
    draw = SplitPart(rows=rows, probabilities=torch.full((7,), 1 / 7).double(), num_sequences=7, is_weighted=False)
    stream = batches(draw, 3, torch.Generator().manual_seed(0))
    seen = torch.cat([next(stream).rows, next(stream).rows])
    assert len(seen.unique()) == 6


@pytest.mark.parametrize("size", [41, 97, 249, 512])
def test_of_a_row_that_was_drawn_once_no_own_pair_counts(size):
    batch = drawn(1000, size, 0)
    once = (batch.probabilities * size).round() == 1
    assert once.any()
    scores = torch.zeros(1, len(once), len(once))
    counted = matrix_statistics(scores, batch, CAP.float())[0].pairing.counted
    assert (counted.diagonal()[once] == 0).all()
    assert (counted.diagonal()[~once] >= 0.5).all()
