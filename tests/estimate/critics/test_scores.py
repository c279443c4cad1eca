"""Scores of all pairs and their means, against loops and dense matrices."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ie_store.estimate.critics import baseline
from ie_store.estimate.critics import pair_means as pair_means_module
from ie_store.estimate.critics.bounds import PairStatistics, infonce, loss, resolution_floor, smile, tuba
from ie_store.estimate.critics.canonical_correlations import LinearCritic
from ie_store.estimate.critics.folds import table_fold
from ie_store.estimate.critics.pair_means import log_means, pair_means, row_tiles
from ie_store.estimate.critics.pairing import Pairing
from ie_store.estimate.critics.rows import PairedSlabs, Rows
from ie_store.estimate.critics.scores import SeparableScores, SplitPart, capped_exp, capped_exp_, soft_cap


def make_factors(num_rows=30, num_problems=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(num_problems, num_rows, 4, generator=generator) for _ in range(2))
    row, column = (torch.randn(num_problems, num_rows, generator=generator) for _ in range(2))
    return SeparableScores(left=left, right=right, row=row, column=column)


def make_side(num_rows=30, *, is_weighted=False, seed=0):
    probabilities = torch.rand(num_rows, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1
    probabilities = probabilities / probabilities.sum() if is_weighted else torch.full_like(probabilities, 1 / num_rows)
    return SplitPart(rows=torch.arange(num_rows), probabilities=probabilities, num_sequences=num_rows, is_weighted=is_weighted)


def dense(factors):
    return factors.left @ factors.right.transpose(1, 2) + factors.row[..., None] + factors.column[:, None]


CAP = torch.tensor([5.0, 3.0])


def statistics(side, factors=None, cap=CAP):
    factors = factors or make_factors(len(side.rows))
    means, joint = pair_means(factors.at, side, cap), soft_cap(factors.diagonal(), cap)
    pairing = Pairing.of(side.probabilities.float(), side.is_weighted, len(side.rows))
    return PairStatistics(joint=joint, row_means=means.row_means, column_means=means.column_means, pairing=pairing)


def test_the_capped_exponential_is_the_exponential_of_the_capped_score():
    values = torch.linspace(-200, 200, 4001)[None].repeat(2, 1)
    assert torch.allclose(capped_exp(values, CAP), soft_cap(values, CAP).exp(), rtol=1e-4)
    assert capped_exp_(values.clone(), CAP).equal(capped_exp(values, CAP))
    assert torch.allclose(soft_cap(torch.tensor([[0.5], [0.5]]), CAP), torch.tensor([[0.5], [0.5]]), atol=0.1)


def test_the_gradient_of_the_capped_exponential_is_that_of_its_formula():
    scores = torch.linspace(-40, 40, 2001, dtype=torch.float64).repeat(2, 1).requires_grad_()  # beyond what is cut off, too
    floor = (-CAP.double()).exp()[:, None]
    (wanted,) = torch.autograd.grad(((scores.exp() + floor) / (scores.exp() * floor + 1)).sum(), scores)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        (found,) = torch.autograd.grad(capped_exp(scores.to(dtype), CAP.to(dtype)).sum(), scores)
        cut_off = torch.where(scores.abs() > 22, 3e-9, 0.0)  # exp(-BEND) of the most
        assert ((found - wanted).abs() <= (tolerance + cut_off) / floor).all()


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("pairs_per_block", [64, 2**22])
def test_pair_means_are_those_of_the_whole_matrix(monkeypatch, is_weighted, pairs_per_block):
    monkeypatch.setitem(pair_means_module.PAIRS_PER_TILE, "cpu", pairs_per_block)
    factors, side = make_factors(), make_side(is_weighted=is_weighted)
    matrix = soft_cap(dense(factors), CAP).exp().double()
    p = side.probabilities
    weights = p[:, None] * p[None]
    if not is_weighted:
        weights.fill_diagonal_(0)
        weights /= weights.sum()
    means = pair_means(factors.at, side, CAP)
    row_means, column_means = means.row_means, means.column_means
    assert torch.allclose((row_means.double() * p).sum(1), (matrix * weights).sum((1, 2)), rtol=1e-4)
    assert torch.allclose(row_means.double(), (matrix * weights).sum(2) / p, rtol=1e-4)
    assert torch.allclose(column_means.double(), (matrix * weights).sum(1) / p, rtol=1e-4)


def test_log_means_are_those_of_the_whole_matrix():
    factors, reference = make_factors(), make_factors(seed=1)
    logs = make_side(is_weighted=True).probabilities.log().float()
    matrix = factors.left @ reference.right.transpose(1, 2) + factors.row[..., None] + reference.column[:, None]
    assert torch.allclose(log_means(factors, reference, logs), torch.logsumexp(matrix + logs, 2), rtol=1e-5)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_influences_average_to_the_value(is_weighted):
    found = statistics(make_side(is_weighted=is_weighted))
    for nats, influence in (tuba(found, torch.tensor([0.3, -0.2])), infonce(found), smile(found, found)):
        assert torch.allclose(influence @ found.probabilities, nats, rtol=1e-4)


def test_the_constant_form_by_hand_and_at_its_best_constant():
    found = statistics(make_side())
    marginal = found.row_means.mean(1)
    by_hand = found.joint.mean(1) - 0.7 - marginal / torch.e**0.7 + 1
    assert torch.allclose(tuba(found, torch.full((2,), 0.7))[0], by_hand, rtol=1e-4)
    best = tuba(found, found.log_marginal)[0]
    assert torch.allclose(best, found.joint.mean(1) - marginal.log(), rtol=1e-4)
    assert (best > by_hand).all()


def test_infonce_counts_the_own_pair_and_stays_below_ln_n():
    factors, side = make_factors(), make_side()
    found = statistics(side, factors)
    matrix = soft_cap(dense(factors), CAP)
    by_hand = (matrix.diagonal(dim1=1, dim2=2) - torch.logsumexp(matrix, 2)).mean(1) + torch.log(torch.tensor(30.0))
    assert torch.allclose(infonce(found)[0], by_hand, atol=1e-4)


@pytest.mark.parametrize("height", [1.0, 3.0, 6.0, 12.0])
def test_the_floor_keeps_the_constant_form_below_ln_n(height):
    side, cap = make_side(100), torch.tensor([12.0])
    left = torch.eye(100)[None] * 2 * height
    factors = SeparableScores(
        left=left, right=torch.eye(100)[None], row=torch.full((1, 100), -height), column=torch.zeros(1, 100)
    )
    found = statistics(side, factors, cap)
    floor = torch.maximum(found.log_marginal, resolution_floor(found.mean_joint, 100))
    assert tuba(found, floor)[0].item() <= torch.log(torch.tensor(100.0)).item()


def test_the_perfect_critic_of_a_table_gives_its_entropy():
    side = make_side(8, is_weighted=True)
    p = side.probabilities.float()
    left = torch.diag(-p.log() + 30)[None]
    factors = SeparableScores(left=left, right=torch.eye(8)[None], row=torch.full((1, 8), -30.0), column=torch.zeros(1, 8))
    found = statistics(side, factors, torch.tensor([20.0]))
    entropy = -(side.probabilities * side.probabilities.log()).sum().item()
    assert tuba(found, found.log_marginal)[0].item() == pytest.approx(entropy, abs=1e-4)


def test_the_donsker_varadhan_gradient_divides_by_the_running_mean():
    scores_ = torch.randn(1, 6, 6, requires_grad=True)
    side = make_side(6)
    pairing = Pairing.of(side.probabilities.float(), side.is_weighted, len(side.rows))
    others = pairing.others
    exponentials = scores_.exp() * (1 - torch.eye(6))
    found = PairStatistics(
        joint=scores_.diagonal(dim1=1, dim2=2),
        row_means=exponentials @ others,
        column_means=others @ exponentials,
        pairing=pairing,
    )
    (gradient,) = torch.autograd.grad(loss("mine", found, exponentials, torch.tensor([0.5])).sum(), scores_)
    expected = exponentials.detach() / 30 / torch.e**0.5 - torch.eye(6) / 6
    assert torch.allclose(gradient, expected, atol=1e-6)


@given(st.floats(0.5, 60), st.lists(st.floats(-500, 500), min_size=1, max_size=20))
def test_a_soft_cap_bends_within_the_cap_rises_and_keeps_the_sign(cap, values):
    scores_ = torch.tensor([sorted(values)], dtype=torch.float64)
    bent = soft_cap(scores_, torch.tensor([cap], dtype=torch.float64))
    assert (bent.abs() <= cap + 1e-8).all()
    assert (bent.diff() >= -1e-8).all()
    assert (bent.abs() <= scores_.abs() + 1e-8).all()
    assert (bent * scores_ >= -1e-8).all()
    assert torch.allclose(soft_cap(-scores_, torch.tensor([cap], dtype=torch.float64)), -bent, atol=1e-8)


def test_a_soft_cap_far_from_the_ends_is_none_and_far_beyond_them_is_the_cap():
    cap, far = torch.tensor([50.0], dtype=torch.float64), torch.tensor([[-1e6, 1e6]], dtype=torch.float64)
    inner = torch.linspace(-15, 15, 31, dtype=torch.float64)[None]
    assert torch.allclose(soft_cap(inner, cap), inner, atol=1e-12)
    assert soft_cap(far, cap).tolist() == [[-50.0, 50.0]]
    assert torch.allclose(capped_exp(far, torch.tensor([5.0])), torch.tensor([[-5.0, 5.0]], dtype=torch.float64).exp(), rtol=1e-6)


@pytest.mark.parametrize("pairs_per_block", [1, 100, 2**22])
def test_log_means_in_any_blocks_are_one_row_after_the_other(monkeypatch, pairs_per_block):
    monkeypatch.setitem(pair_means_module.PAIRS_PER_TILE, "cpu", pairs_per_block)
    factors, reference = make_factors(11), make_factors(7, seed=1)
    p = make_side(7, is_weighted=True).probabilities
    found = log_means(factors, reference, p.log().float())
    for problem in range(2):
        for row in range(11):
            own = [
                (factors.left[problem, row] @ reference.right[problem, other]).item()
                + factors.row[problem, row].item()
                + reference.column[problem, other].item()
                for other in range(7)
            ]
            assert found[problem, row].item() == pytest.approx(math.log(np.exp(own) @ p.numpy()), abs=1e-4)


@given(st.integers(1, 5), st.integers(1, 100), st.integers(1, 100), st.integers(1, 3000))
def test_blocks_cover_the_rows_once(num_problems, num_rows, num_columns, pairs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pair_means_module.PAIRS_PER_TILE, "cpu", pairs)
        blocks = row_tiles(torch.empty(num_problems, num_rows), num_columns)
    assert [row for part in blocks for row in range(part.start, part.stop)] == list(range(num_rows))
    assert all((p.stop - p.start) * num_problems * num_columns <= max(pairs, num_problems * num_columns) for p in blocks)


def test_parts_and_heads_of_a_side():
    draw, table = make_side(10), make_side(10, is_weighted=True)
    assert table.head(3) is table
    assert draw.head(10) is draw
    head = draw.head(3)
    assert (head.rows.tolist(), head.num_sequences, head.is_weighted) == ([0, 1, 2], 3, False)
    assert head.probabilities.sum().item() == pytest.approx(1)
    pairing, of_table = (Pairing.of(side.probabilities, side.is_weighted, 10) for side in (draw, table))
    assert torch.allclose(pairing.others, torch.full((10,), 1 / 9, dtype=torch.float64))
    assert torch.allclose(pairing.rows, draw.probabilities)
    assert all(weights.equal(table.probabilities) for weights in (of_table.rows, of_table.others, of_table.by_row))


def test_scores_scaled_shifted_added_and_chosen():
    first, second = make_factors(6), make_factors(6, seed=1)
    half = torch.tensor([0.5, 2.0])
    assert torch.allclose(dense(first.scaled(half)), dense(first) * half[:, None, None], atol=1e-5)
    assert torch.allclose(dense(first.shifted(half[:, None])), dense(first) + half[:, None, None], atol=1e-5)
    assert torch.allclose(dense(first.plus(second)), dense(first) + dense(second), atol=1e-5)
    chosen = dense(first.where(torch.tensor([True, False]), second))
    assert chosen[0].equal(dense(first)[0])
    assert chosen[1].equal(dense(second)[1])
    assert torch.allclose(first.at(torch.tensor([4, 1])).diagonal(), first.diagonal()[:, [4, 1]])


@pytest.mark.parametrize("is_weighted", [False, True])
def test_statistics_of_a_matrix_are_those_of_its_factors(is_weighted):
    factors, side = make_factors(12), make_side(12, is_weighted=is_weighted)
    streamed = baseline.statistics(factors.at, side, CAP, "mine")
    whole, exponentials = baseline.matrix_statistics(dense(factors), side, CAP)
    for name in ("joint", "row_means", "column_means", "probabilities"):
        assert torch.allclose(getattr(streamed, name), getattr(whole, name), rtol=1e-5), name
    assert streamed.pairing.is_weighted == whole.pairing.is_weighted == is_weighted
    assert bool((exponentials.diagonal(dim1=1, dim2=2) == 0).all()) == (not is_weighted)


def test_rows_that_are_normalised_have_mean_one_against_the_reference():
    factors, side = make_factors(), make_side(9, is_weighted=True)
    # Rows of one number each, by which a scorer finds what they are scored.
    slab = torch.arange(30.0)[:, None]
    rows = Rows(pairs=PairedSlabs.of([slab, slab], [slab, slab]), marginals=(), kept=(slab,) * 4)

    def scorer(x, y):
        return factors.at(x[0, :, 0].long())

    found = baseline.normalised(scorer, rows, side, torch.tensor([True, False]))(*rows.at(torch.arange(30)))
    reference = factors.part(slice(0, 9))
    matrix = dense(SeparableScores(left=found.left, right=reference.right, row=found.row, column=reference.column))
    assert torch.allclose(matrix[0].exp() @ side.probabilities.float(), torch.ones(30), rtol=1e-4)
    assert found.row[1].equal(factors.row[1])
    assert baseline.normalised(scorer, rows, side, torch.tensor([False, False])) is scorer


@pytest.mark.parametrize(("is_weighted", "is_whole"), [(False, False), (True, False), (True, True)])
def test_caps_by_the_rows_there_are(is_weighted, is_whole):
    fold = replace(table_fold(np.ones(50)), train=replace(make_side(50, is_weighted=is_weighted), is_whole=is_whole))
    margin = 6.0 if is_weighted else 2.0
    assert baseline.plain_cap("mine", fold) == pytest.approx(math.log(50) + margin)
    assert baseline.plain_cap("infonce", fold) == 40.0
    assert baseline.row_cap(fold.train, 7.0) == (7.0 if is_whole else pytest.approx(math.log(50)))
    nothing = torch.zeros(2, 0)
    found = baseline.Baseline(
        critic=LinearCritic(x_map=nothing, y_map=nothing, x_shift=nothing, y_shift=nothing, correlations=nothing),
        temper=torch.ones(2),
        constant=torch.zeros(2, 1),
        by_row=torch.tensor([True, False]),
        saturated=torch.tensor([False, False]),
        plain_cap=7.0,
    )
    assert found.cap(fold.train).tolist() == pytest.approx([7.0 if is_whole else math.log(50), 7.0])
