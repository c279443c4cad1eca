"""How far the interval of a combined value reaches: Student's quantiles by SciPy, and in how many of many draws it holds."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from ie_store.estimate.critics.held_out import combine
from ie_store.specs import NORMAL_95

ROWS = 40


def combined(values, influence):
    """Of one seed's folds with ``values`` (fold,) and the ``influence`` (row,) of each one's own test rows."""
    folds = [
        SimpleNamespace(test_entries=torch.arange(ROWS), test_sequences=torch.arange(fold * ROWS, (fold + 1) * ROWS))
        for fold in range(len(values))
    ]
    found = [SimpleNamespace(nats=torch.tensor([v]).double(), influence=(v + influence)[None]) for v in values]
    return combine([found], folds, np.arange(ROWS * len(values)), 0)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_where_folds_alone_differ_the_interval_is_students(folds):
    values = np.linspace(1.0, 2.0, folds)
    found = combined(values, torch.zeros(ROWS))
    low, high = found.interval_nats
    expected = stats.t.interval(0.95, folds - 1, values.mean(), stats.sem(values))
    np.testing.assert_allclose((low, high), expected, rtol=1e-6)


def test_where_rows_alone_differ_the_interval_is_normal():
    influence = torch.tensor([-1.0, 1.0]).repeat(ROWS // 2)
    low, high = combined(np.array([1.0, 1.0]), influence).interval_nats
    np.testing.assert_allclose(high - low, 2 * stats.norm.ppf(0.975) / np.sqrt(2 * ROWS), rtol=1e-6)


@pytest.mark.parametrize("values", [(np.nan, 1.0), (np.inf, 1.0), (np.inf, -np.inf), (1e30, -1e30), (0.0, 1e-90), (0.0, 0.0)])
def test_values_that_diverged_or_hardly_differ_still_have_an_interval(values):
    influence = torch.linspace(-1, 1, ROWS)
    found = combined(np.array(values), influence)
    assert 1.9 < found.reach < 13
    assert len(found.interval_nats) == 2


@pytest.mark.parametrize(
    ("fold_deviation", "share", "share_of_normal"),
    [(0.02, 0.95, 1.0), (0.1, 0.95, 1.0), (0.2, 0.92, 0.92), (0.5, 0.87, 0.81), (3.0, 0.92, 0.73)],
)
def test_intervals_of_two_folds_hold_almost_as_often_as_they_say(fold_deviation, share, share_of_normal):
    """A fold's value is its rows' mean, and what its own training adds; 2,000 draws. With 1.96 standard errors 0.70 at worst.

    Where two folds differ by more than their rows explain, and happen to meet, no interval of them alone can know.
    """
    chance, draws = np.random.default_rng(0), 2000
    held, held_by_normal = 0, 0
    for _ in range(draws):
        rows = torch.from_numpy(chance.standard_normal(ROWS))
        values = fold_deviation * chance.standard_normal(2) + chance.standard_normal((2, ROWS)).mean(axis=1)
        found = combined(values, rows - rows.mean())
        low, high = found.interval_nats
        held += low <= 0.0 <= high
        held_by_normal += abs(found.nats) <= NORMAL_95 * found.standard_error_nats
    assert held / draws >= share
    assert held_by_normal / draws <= share_of_normal
