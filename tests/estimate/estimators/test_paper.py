"""The published procedure against a few lines written from its description, step by step and at its maximum."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from ie_store.estimate.estimators import mine_paper
from ie_store.estimate.estimators.mine_paper import PublishedRun, paper_estimate, published_critic, run_published
from ie_store.estimator_options import PaperOptions
from ie_store.specs import Outcome

STEPS = 60


def pairs(num_rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_rows, 3, generator=generator)
    return x, x + torch.randn(num_rows, 3, generator=generator)


def orders(num_rows: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randperm(num_rows, generator=generator) for _ in range(STEPS)]


def published_by_hand(critic: torch.nn.Sequential, x: torch.Tensor, y: torch.Tensor, orders: list[torch.Tensor]) -> list[float]:
    """Adam written out, so that nothing but the layers' arithmetic is shared with the library."""
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in critic.parameters()]
    values = []
    for step, order in enumerate(orders):
        t_joint = critic(torch.hstack([x, y])).double()
        t_marginal = critic(torch.hstack([x, y[order]])).double()
        value = t_joint.mean() - t_marginal.exp().mean().log()
        values.append(value.item())
        gradients = torch.autograd.grad(-value, list(critic.parameters()))
        rate = 1e-4 * step / 5 if step < 5 else (1e-4 - 1e-8) * (1 - (step - 5) / (STEPS - 5)) ** 3 + 1e-8
        with torch.no_grad():
            for p, g, (m, v) in zip(critic.parameters(), gradients, moments, strict=True):
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.999).add_(0.001 * g * g)
                p -= rate * (m / (1 - 0.9 ** (step + 1))) / ((v / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
    return values


def test_critic_is_the_published_one() -> None:
    shapes = [tuple(p.shape) for p in published_critic(5, 7, 0).parameters() if p.dim() == 2]
    widths = [12, 768, 384, 192, 96, 48, 24, 12, 6, 3, 1]
    assert shapes == [(b, a) for a, b in pairwise(widths)]
    first = next(published_critic(500, 500, 0).parameters())
    assert first.std().item() == pytest.approx((2 / (1000 + 768)) ** 0.5, rel=0.01)  # Xavier-normal


@pytest.mark.slow
def test_every_step_and_the_maximum() -> None:
    x, y = pairs(200)
    permutations = orders(200)
    expected = published_by_hand(published_critic(3, 3, 7), x, y, permutations)
    run = run_published(published_critic(3, 3, 7), x, y, lambda step: permutations[step], steps=STEPS)
    assert run.maximum_step == int(np.argmax(expected))
    assert [run.last_nats, run.maximum_nats] == pytest.approx([expected[-1], max(expected)], abs=1e-6)


@pytest.mark.slow
def test_a_table_is_the_same_as_its_sequences() -> None:
    x, y = pairs(9)
    row_of_sequence = torch.from_numpy(np.random.default_rng(0).integers(0, 9, 120))
    permutations = orders(120)
    table = run_published(
        published_critic(3, 3, 7), x, y, lambda step: permutations[step], row_of_sequence=row_of_sequence, steps=STEPS
    )
    listed = run_published(
        published_critic(3, 3, 7), x[row_of_sequence], y[row_of_sequence], lambda step: permutations[step], steps=STEPS
    )
    assert table.last_nats == pytest.approx(listed.last_nats, abs=1e-5)
    assert table.maximum_nats == pytest.approx(listed.maximum_nats, abs=1e-5)


def test_segments_are_reported_one_by_one() -> None:
    x, y = pairs(60)
    estimate = paper_estimate(x, y, PaperOptions(segment_size=2), steps=5)
    alone = [paper_estimate(x[:, cut], y[:, cut], PaperOptions(), steps=5).nats for cut in (slice(2), slice(2, 3))]
    assert estimate.diagnostics["segment_nats"] == pytest.approx(alone)
    assert estimate.nats == pytest.approx(max(alone))
    assert estimate.outcome is Outcome.NOT_A_BOUND


@pytest.mark.parametrize(
    ("maximum", "outcome", "words"),
    [
        (0.7, Outcome.NOT_A_BOUND, None),
        (-0.01, Outcome.NOT_A_BOUND, None),
        (1.2, Outcome.ABOVE_CEILING, "20% above"),
        (-1.0, Outcome.DIVERGED, "negative"),
        (-float("inf"), Outcome.DIVERGED, "not a finite"),
    ],
)
def test_a_value_that_cannot_be_is_wrong_and_any_other_bounds_nothing(monkeypatch, maximum, outcome, words) -> None:
    monkeypatch.setattr(
        mine_paper, "run_published", lambda *_, **__: PublishedRun(maximum_nats=maximum, maximum_step=3, last_nats=maximum)
    )
    estimate = paper_estimate(*pairs(60), PaperOptions(), ceiling_nats=1.0, steps=5)
    assert estimate.outcome is outcome
    assert estimate.nats == (0.0 if maximum == -0.01 else maximum)
    assert "published figures only" in estimate.flags[0]
    assert [words in flag for flag in estimate.flags[1:]] == [True] * bool(words)
