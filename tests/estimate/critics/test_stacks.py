"""Problems that meet in a stack: each as it is alone, slabs in any dtype and shared, rows kept or made anew, tables thinned."""

import math

import numpy as np
import pytest
import torch

from ie_store.estimate.critics import folds, rows
from ie_store.estimate.critics.folds import make_folds
from ie_store.estimate.critics.rows import PairedSlabs, score_rows
from ie_store.estimate.estimators.cross_fit import cross_fit
from ie_store.estimate.stored_rows import HeldRows
from ie_store.estimators import estimator_spec

SPEC = estimator_spec("mine", steps=50)


def chain(num_rows=500, size=4, layers=3):
    """Slabs each of which is the one before, turned and with noise: neighbours share information, and no two pairs as much."""
    generator = torch.Generator().manual_seed(0)
    slabs = [torch.randn(num_rows, size, generator=generator)]
    for layer in range(1, layers):
        slabs.append(torch.sin(2 * slabs[-1]).roll(1, 1) + 0.3 * layer * torch.randn(num_rows, size, generator=generator))
    return slabs


@pytest.mark.slow
def test_a_problem_is_worth_the_same_in_a_stack_as_alone():
    slabs = chain()
    groups = np.arange(500)
    together = cross_fit(PairedSlabs(slabs=tuple(map(HeldRows, slabs)), x=(0, 1), y=(1, 2)), SPEC, groups=groups)
    for block, found in enumerate(together):
        (alone,) = cross_fit(PairedSlabs.of([slabs[block]], [slabs[block + 1]]), SPEC, groups=groups)
        assert found.nats == pytest.approx(alone.nats, abs=2e-3)
        for name in ("steps", "best_step"):
            assert found.diagnostics[name] == alone.diagnostics[name]


def test_rows_kept_and_rows_made_anew_are_the_same(monkeypatch):
    slabs = [slab.half() for slab in chain(layers=2)]
    pairs = PairedSlabs.of([slabs[0]], [slabs[1]])
    train = make_folds(np.arange(500), None, 2, 0)[0].train
    index = torch.tensor([7, 3, 499])
    kept = score_rows(pairs, train)
    monkeypatch.setattr(rows, "KEPT_VALUES", 0)
    made = score_rows(pairs, train)
    assert kept.kept
    assert not made.kept
    for one, other in zip(kept.at(index), made.at(index), strict=True):
        assert one.equal(other)
        assert one.dtype == torch.float32
    assert slabs[0].dtype == torch.float16


def test_a_table_of_many_rows_is_looked_at_by_rows_of_both_sides_and_of_either(monkeypatch):
    row_of_sequence = np.concatenate([np.repeat(np.arange(60), 20), np.arange(60, 90)])
    fold = make_folds(np.arange(1230), row_of_sequence, 2, 0)[0]
    whole = fold.looks(10)
    assert whole[0] is fold.validation
    assert whole[1] is fold.train
    larger = max(len(fold.validation.rows), len(fold.train.rows))
    monkeypatch.setattr(folds, "MOST_TABLE_ROWS", larger)
    assert fold.looks(10)[1] is fold.train
    monkeypatch.setattr(folds, "MOST_TABLE_ROWS", larger - 1)
    assert len(fold.looks(10)[1].rows) < larger
    monkeypatch.setattr(folds, "MOST_TABLE_ROWS", 25)
    seen, reference = fold.looks(10)
    chosen = set(seen.rows.tolist()) | set(reference.rows.tolist())
    assert len(chosen) == 25
    for look, side in ((seen, fold.validation), (reference, fold.train)):
        assert look.rows.tolist() == [row for row in side.rows.tolist() if row in chosen]
    never_trained = set(fold.validation.rows.tolist()) - set(fold.train.rows.tolist())
    assert set(seen.rows.tolist()) - set(reference.rows.tolist()) == never_trained & chosen != set()
    assert seen.probabilities.sum().item() == pytest.approx(1)
    assert seen.is_weighted


def test_moments_are_numpys(monkeypatch):
    from ie_store.estimate.critics import moments

    pairs = PairedSlabs(slabs=tuple(map(HeldRows, chain())), x=(0, 1), y=(1, 2))
    train = make_folds(np.arange(500), None, 2, 0)[0].train
    scored = score_rows(pairs, train)
    for at_once, in_float64 in ((2**22, 16384), (50, 16384), (50, 0)):
        monkeypatch.setattr(moments, "VALUES_AT_ONCE", at_once)
        monkeypatch.setattr(moments, "MOST_ROWS_IN_FLOAT64", in_float64)
        x, y = (side.numpy() for side in scored.at(train.rows))
        first = moments.pair_moments(scored, train, 0, {})
        for problem, found in enumerate((first, moments.pair_moments(scored, train, 1, {1: first.y}))):
            expected = np.cov(np.concatenate([x[problem], y[problem]], 1).T, aweights=train.probabilities.numpy(), ddof=0)
            assert np.allclose(found.x.covariance, expected[:4, :4], atol=1e-5)
            assert np.allclose(found.cross, expected[:4, 4:], atol=1e-5)
            assert np.allclose(found.y.covariance, expected[4:, 4:], atol=1e-5)


@pytest.mark.slow
def test_information_of_many_rows_is_that_of_few(monkeypatch):
    """The same Gaussian by all columns, and by an eighth of them: within both errors, and both of the truth."""
    from ie_store.estimate.critics import scores

    rho, size = 0.8, 2
    truth = -0.5 * size * math.log(1 - rho**2)
    generator = torch.Generator().manual_seed(5)
    x, z = (torch.randn(2000, size, generator=generator) for _ in range(2))
    pairs = PairedSlabs.of([x], [rho * x + math.sqrt(1 - rho**2) * z])
    for references in (2000, 250):
        monkeypatch.setattr(scores, "MOST_REFERENCES", references)
        (found,) = cross_fit(pairs, SPEC, groups=np.arange(2000))
        assert abs(found.nats - truth) < 2.5 * found.standard_error_nats + 0.05 * truth


def test_a_table_that_is_told_apart_already_is_not_trained(monkeypatch):
    """Its value is nearly the entropy, the most there is; training adds next to nothing."""
    from ie_store.estimate.critics import encoders

    generator = torch.Generator().manual_seed(6)
    x = torch.randn(20, 30, generator=generator)
    row_of_sequence = np.arange(20_000) % 20
    arguments = {"groups": np.arange(20_000), "row_of_sequence": row_of_sequence}
    pairs = PairedSlabs.of([x], [torch.tanh(x @ torch.randn(30, 30, generator=generator) / 30**0.5)])
    (alone,) = cross_fit(pairs, SPEC, **arguments)
    assert alone.diagnostics["steps"] == 0
    assert alone.nats == pytest.approx(math.log(20), rel=0.005)
    monkeypatch.setattr(encoders, "ENOUGH", 1.0)
    (trained,) = cross_fit(pairs, SPEC, **arguments)
    assert trained.diagnostics["steps"] > 0
    assert alone.nats == pytest.approx(trained.nats, rel=0.005)
