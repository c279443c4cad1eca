"""Mutual information does not depend on units: every estimator says the same from 1e-300 to 1e300."""

import functools
import math
from functools import partial

import numpy as np
import pytest
import torch

import ie_store
from ie_store.errors import InputError
from ie_store.estimate.estimators import mine_paper
from ie_store.estimators import option_names

SCALES = (1e-300, 1e-60, 1e-8, 1e8, 1e60, 1e300)
ESTIMATORS = ("mine", "infonce", "nwj", "smile", "js", "cca", "noise", "noise rms", "mine-paper", "exact")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 3))
Y = 0.8 * X + 0.6 * RNG.standard_normal((300, 3))
LABELS = RNG.integers(0, 5, (300, 2)).astype(np.float64)


@pytest.fixture(autouse=True)
def few_published_steps(monkeypatch):
    monkeypatch.setattr(mine_paper, "paper_estimate", partial(mine_paper.paper_estimate, steps=5))


def measured(name, x, y):
    scale = {"scale": "rms"} if name == "noise rms" else {}
    estimator = name.split()[0]
    options = {option: value for option, value in {"steps": 20, "sigma": 0.5}.items() if option in option_names(estimator)}
    return ie_store.mutual_information(x, y, estimator=estimator, **options | scale)


def pair(name):
    return (LABELS, LABELS[:, 0] + 1.0) if name == "exact" else (X, Y)


@functools.cache
def at_one(name):
    return measured(name, *pair(name))


@functools.cache
def beside_zeros(name):
    return measured(name, np.hstack([X, np.zeros((300, 1))]), np.hstack([Y, np.zeros((300, 1))]))


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_value_does_not_depend_on_the_scale(name, scale):
    x, y = pair(name)
    found = measured(name, x * scale, y / scale)
    assert found.nats == pytest.approx(at_one(name).nats, rel=1e-5, abs=1e-6)
    assert found.interval_nats == pytest.approx(at_one(name).interval_nats, rel=1e-5, abs=1e-6)
    assert (found.outcome, found.flags) == (at_one(name).outcome, at_one(name).flags)


@pytest.mark.parametrize("name", ["cca", "noise", "exact"])
@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_the_ends_of_the_sweep(name, scale):
    x, y = pair(name)
    assert measured(name, x * scale, y * scale).nats == pytest.approx(at_one(name).nats, rel=1e-5)


@pytest.mark.parametrize("name", ["mine", "cca", "noise"])
def test_columns_of_very_different_scales_all_count(name):
    units = np.array([1e-200, 1.0, 1e200])
    assert measured(name, X * units, Y * units[::-1]).nats == pytest.approx(at_one(name).nats, rel=1e-5)


@pytest.mark.parametrize("name", ["cca", "noise", "noise rms", "mine-paper"])
@pytest.mark.parametrize(
    ("scale", "constant"),
    [
        (1e-300, 1e-301),
        (1.0, 1e300),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in ((1e-200, 1e300), (1.0, 0.1), (1e300, 1.0))),
    ],
)
def test_a_constant_column_adds_nothing(name, scale, constant):
    beside = [np.hstack([rows * scale, np.full((300, 1), constant)]) for rows in (X, Y)]
    assert measured(name, *beside).nats == pytest.approx(beside_zeros(name).nats, rel=1e-5)


@pytest.mark.parametrize("name", ["mine", "cca", "noise", "mine-paper"])
def test_a_large_offset_costs_no_digits_that_float64_has(name):
    assert measured(name, 1e8 + X, Y - 1e8).nats == pytest.approx(at_one(name).nats, rel=5e-3)


@pytest.mark.parametrize("name", ["mine", "cca", "noise"])
def test_an_outlier_does_not_swallow_the_other_rows(name):
    far = X.copy()
    far[0] = 1e30
    near = X.copy()
    near[0] = 1e4
    assert measured(name, far, Y).nats == pytest.approx(measured(name, near, Y).nats, rel=0.05, abs=0.02)


@pytest.mark.parametrize("scale", [1e-37, 1e-30, 1e30, 1e37])
@pytest.mark.parametrize("name", ["cca", "noise", "mine-paper"])
def test_float32_may_be_as_small_or_large_as_float32_goes(name, scale):
    x, y = X.astype(np.float32), Y.astype(np.float32)
    factor = np.float32(scale)
    assert measured(name, x * factor, y * factor).nats == pytest.approx(at_one(name).nats, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", ["cca", "noise rms", "mine-paper"])
def test_a_constant_column_of_float32_adds_nothing_either(name):
    x, y = (np.hstack([1e-12 * rows, np.full((300, 1), 1e30)]).astype(np.float32) for rows in (X, Y))
    assert measured(name, x, y).nats == pytest.approx(beside_zeros(name).nats, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", ["noise rms", "mine-paper"])
def test_rows_told_apart_by_a_column_too_small_for_one_common_scale_are_flagged(name):
    x = np.column_stack([1e200 * (np.arange(300) % 5), X[:, 0]])
    assert any("float32" in flag for flag in measured(name, x, x).flags)


def test_dtypes_agree():
    for dtype in (torch.float64, torch.float32):
        assert measured("cca", torch.tensor(X, dtype=dtype), torch.tensor(Y)).nats == pytest.approx(at_one("cca").nats, rel=1e-4)


def test_the_smallest_numbers_there_are():
    smallest = 5e-324
    x = LABELS * smallest
    assert measured("exact", x, LABELS[:, 0]).nats == pytest.approx(measured("exact", LABELS, LABELS[:, 0]).nats)
    assert measured("noise", x, LABELS[:, 0] + 7 * LABELS[:, 1]).nats == pytest.approx(
        measured("noise", LABELS, LABELS[:, 0] + 7 * LABELS[:, 1]).nats, rel=1e-5
    )


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_exact_compares_rows_as_they_were_given(scale):
    with pytest.raises(InputError, match="rows that repeat"):
        measured("exact", X * scale, Y * scale)


def test_rows_that_are_one_in_float32_are_flagged():
    """y tells which of two values a billionth of a billionth apart x has: lost in float32 beside +-1."""
    side, tiny = RNG.integers(0, 2, 400), RNG.integers(0, 2, 400)
    x, y = side + 1e-12 * tiny, tiny
    found = measured("mine", x, y)
    assert any("float32" in flag and "x" in flag for flag in found.flags)
    exact = measured("exact", x, y)
    assert exact.nats == pytest.approx(-sum(p * math.log(p) for p in np.bincount(tiny) / 400))
    assert exact.flags == ()


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("name", ESTIMATORS)
def test_ordinary_rows_carry_no_such_flag(name):
    assert not any("float32" in flag for flag in at_one(name).flags)
    one = RNG.standard_normal(20_000)
    assert not any("float32" in flag for flag in measured("noise", one[:5000], one[:5000]).flags)
    assert not any("float32" in flag for flag in measured("cca", one, one + RNG.standard_normal(20_000)).flags)


def test_a_column_that_float32_cannot_span_is_refused():
    x = X.copy()
    x[7, 1] = 1e200
    with pytest.raises(InputError, match=r"x: column 1 .* row 7"):
        measured("mine", x, Y)
