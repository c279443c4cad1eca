"""Many rows against few references: brute force, no bias, an error that is the spread over draws, and nothing new below."""

import math

import numpy as np
import pytest
import torch

from ie_store.estimate.critics import pair_means, scores
from ie_store.estimate.critics.baseline import statistics
from ie_store.estimate.critics.bounds import infonce, smile, tuba
from ie_store.estimate.critics.canonical_correlations import LinearCritic
from ie_store.estimate.critics.scores import SeparableScores, SplitPart, soft_cap
from ie_store.estimate.estimators.cross_fit import is_table
from ie_store.estimate.mutual_information import mutual_information
from ie_store.specs import Outcome

CAP = torch.tensor([8.0])


def draw(num_rows, seed=None):
    """A draw of rows, each once, or with shares as repeated sequences have them."""
    counts = np.ones(num_rows) if seed is None else np.random.default_rng(seed).integers(1, 4, num_rows)
    p = torch.from_numpy(counts / counts.sum())
    return SplitPart(rows=torch.arange(num_rows), probabilities=p, num_sequences=int(counts.sum()), is_weighted=False)


def random_factors(num_rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(1, num_rows, 3, generator=generator) for _ in range(2))
    row, column = (torch.randn(1, num_rows, generator=generator) for _ in range(2))
    return SeparableScores(left=left, right=right, row=row, column=column)


def perfect_factors(x, y, rho):
    """The true log-density ratio of pairs of standard normals, each pair of dimensions correlated by ``rho``."""
    size = x.shape[1]
    eye, nothing = torch.eye(size)[None], torch.zeros(1, size)
    correlations = torch.full((1, size), rho)
    return LinearCritic(x_map=eye, y_map=eye, x_shift=nothing, y_shift=nothing, correlations=correlations).factors(
        x[None], y[None]
    )


@pytest.mark.parametrize(("pairs_per_tile", "rows_at_once"), [(40, 3), (2**22, 1024)])
@pytest.mark.parametrize("references", [2, 7, 20, 50])
def test_means_by_brute_force(monkeypatch, references, pairs_per_tile, rows_at_once):
    monkeypatch.setattr(scores, "MOST_REFERENCES", references)
    monkeypatch.setitem(pair_means.PAIRS_PER_TILE, "cpu", pairs_per_tile)
    monkeypatch.setattr(pair_means, "ROWS_AT_ONCE", rows_at_once)
    side, factors = draw(20, seed=1), random_factors(20)
    p, few = side.probabilities.numpy(), min(references, 20)
    matrix = np.exp(soft_cap(factors.against(factors), CAP)[0].double().numpy())
    for bound, meeting in (("mine", few), ("infonce", 20)):
        found = statistics(factors.at, side, CAP, bound)
        weights = np.outer(p[:meeting], p[:few])
        weights[range(few), range(few)] = 0
        weights /= weights.sum()
        total = (weights * matrix[:meeting, :few]).sum()
        assert np.allclose(found.joint[0], np.log(np.diag(matrix)), atol=1e-4)
        assert found.log_marginal.item() == pytest.approx(math.log(total), rel=1e-5)
        shares = p[:meeting] / p[:meeting].sum()
        row_means = (weights * matrix[:meeting, :few]).sum(1) / shares
        assert np.allclose(found.row_means[0, :meeting], total + shares / p[:meeting] * (row_means - total), rtol=1e-4)
        assert np.allclose(found.row_means[0, meeting:], total, rtol=1e-4)
        assert (found.column_means[0].double() @ side.probabilities).item() == pytest.approx(total, rel=1e-4)
        assert np.allclose(found.column_means[0, few:], total, rtol=1e-4)
    own = [np.concatenate([matrix[i, :few], matrix[i, i : i + 1] if i >= few else []]) for i in range(20)]
    shares = [np.concatenate([p[:few], p[i : i + 1] if i >= few else []]) for i in range(20)]
    means = [share @ values / share.sum() for share, values in zip(shares, own, strict=True)]
    assert np.allclose(found.with_own[0], means, rtol=1e-4)
    by_hand = p @ (np.log(np.diag(matrix)) - np.log(means))
    assert infonce(found)[0].item() == pytest.approx(by_hand, abs=1e-4)


@pytest.mark.parametrize("bound", ["infonce", *(pytest.param(bound, marks=pytest.mark.slow) for bound in ("mine", "smile"))])
def test_influences_average_to_the_value_and_their_spread_is_that_over_draws(monkeypatch, bound):
    """Of the perfect critic of a Gaussian and of one that believes twice as much, whose columns differ."""
    monkeypatch.setattr(scores, "MOST_REFERENCES", 40)
    size, num_rows, repeats, rho, believed = 2, 400, 400, 0.5, 0.75
    generator = torch.Generator().manual_seed(0)
    values, errors = [], []
    for _ in range(repeats):
        x, z = (torch.randn(num_rows, size, generator=generator) for _ in range(2))
        side = draw(num_rows)
        found = statistics(perfect_factors(x, rho * x + math.sqrt(1 - rho**2) * z, believed).at, side, CAP, bound)
        if bound == "mine":
            nats, influence = tuba(found, torch.tensor([0.1]))
        elif bound == "smile":
            nats, influence = smile(found, found)
        else:
            nats, influence = infonce(found)
        assert (influence @ found.probabilities).item() == pytest.approx(nats.item(), abs=1e-4)
        values.append(nats.item())
        errors.append((influence - nats).square().sum().sqrt().item() / num_rows)
    # A standard deviation of 400 values is known to 3.5%, and of heavy tails less well.
    assert np.std(values) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=0.2)


def test_what_a_reference_moves_is_the_derivative_of_the_value(monkeypatch):
    """A row that all others are compared with lowers the value where it looks like their own: by brute force."""
    monkeypatch.setattr(scores, "MOST_REFERENCES", 40)
    few, num_rows, step = 40, 200, 1e-6
    side, factors = draw(num_rows, seed=1), random_factors(num_rows)
    matrix = np.exp(soft_cap(factors.against(factors), CAP)[0].double().numpy())
    p, eye = side.probabilities.numpy(), np.eye(num_rows)

    def value(shares):
        others = matrix[:, :few] @ shares[:few] + np.where(np.arange(num_rows) < few, 0, shares * np.diag(matrix))
        counted = shares[:few].sum() + np.where(np.arange(num_rows) < few, 0, shares)
        return shares @ (np.log(np.diag(matrix)) - np.log(others / counted)) / shares.sum()

    found = statistics(factors.at, side, CAP, "infonce")
    nats, influence = infonce(found)
    assert nats.item() == pytest.approx(value(p), abs=1e-4)
    moved = [(value((1 - step) * p + step * eye[j]) - value((1 + step) * p - step * eye[j])) / (2 * step) for j in range(few)]
    of_its_own = (found.joint - found.with_own.log())[0, :few].numpy()
    assert np.corrcoef(influence[0, :few].numpy() - of_its_own, np.array(moved) - of_its_own)[0, 1] > 0.99


def test_few_references_bias_nothing(monkeypatch):
    """The perfect critic, a constant fixed beforehand: the mean over draws is the truth whatever the number of columns."""
    size, num_rows, repeats, rho = 2, 300, 300, 0.7
    truth = -0.5 * size * math.log(1 - rho**2)
    generator = torch.Generator().manual_seed(1)
    values = {16: [], 300: []}
    for _ in range(repeats):
        x, z = (torch.randn(num_rows, size, generator=generator) for _ in range(2))
        factors = perfect_factors(x, rho * x + math.sqrt(1 - rho**2) * z, rho)
        for references, found in values.items():
            monkeypatch.setattr(scores, "MOST_REFERENCES", references)
            found.append(tuba(statistics(factors.at, draw(num_rows), torch.tensor([30.0]), "mine"), torch.zeros(1))[0].item())
    for found in values.values():
        assert abs(np.mean(found) - truth) < 3.5 * np.std(found) / math.sqrt(repeats)
    assert np.std(values[16]) < 3 * np.std(values[300]), "a twentieth of the rows and columns costs no more than that"


def gaussian(num_rows, rho, size=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((num_rows, size)).astype(np.float32)
    return x, (rho * x + math.sqrt(1 - rho**2) * rng.standard_normal((num_rows, size))).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["mine", "cca"])
def test_sides_of_no_more_rows_than_references_keep_their_value_bit_for_bit(monkeypatch, estimator):
    x, y = gaussian(600, 0.8)
    found = []
    for references in (300, 10**9):
        monkeypatch.setattr(scores, "MOST_REFERENCES", references)
        found.append(mutual_information(x, y, estimator=estimator, **({} if estimator == "cca" else {"steps": 50})))
    assert found[0].nats == found[1].nats
    assert found[0].standard_error_nats == found[1].standard_error_nats
    assert found[0].interval_nats == found[1].interval_nats


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["mine", "infonce"])
def test_a_little_above_the_truth_is_still_covered(monkeypatch, estimator):
    size, rho, references = 4, 0.7, 512
    truth = -0.5 * size * math.log(1 - rho**2)
    monkeypatch.setattr(scores, "MOST_REFERENCES", references)
    x, y = gaussian(1200, rho)
    found = mutual_information(x, y, estimator=estimator, steps=50)
    low, high = found.interval_nats
    assert low <= truth <= high + 0.1 * truth, "a lower bound may miss a tenth, as with all columns"
    assert found.diagnostics["num_references"] == references
    assert found.diagnostics["ln_references"] == math.log(references)
    meeting = 600 if estimator == "infonce" else references
    assert found.diagnostics["num_negatives"] == meeting * references - references


def test_more_than_references_can_show_is_said_to_be_at_least(monkeypatch):
    monkeypatch.setattr(scores, "MOST_REFERENCES", 128)
    x, y = gaussian(2000, 0.999)
    found = mutual_information(x, y, steps=50)
    assert found.outcome == Outcome.SATURATED
    assert found.nats <= math.log(128)
    assert "128 references" in found.flags[0]


@pytest.mark.parametrize(
    ("num_distinct", "num_sequences", "expected"),
    [(25, 303_600, True), (13_800, 303_600, True), (303_600, 303_600, False), (43_680, 524_160, True), (300_000, 600_000, False)],
)
def test_a_table_has_no_more_pairs_than_a_draw(num_distinct, num_sequences, expected):
    assert is_table(num_distinct, num_sequences) is expected
