"""Ceilings against entropies counted with `collections.Counter`, textbook values and brute-force collisions."""

from collections import Counter
from itertools import permutations
from math import lgamma, log

import numpy as np
import pytest

from ie_store.estimate.exact import entropies
from ie_store.prefixes import lexicographic_order
from ie_store.specs import CorpusSpec


def counted_entropy(items):
    counts = Counter(items)
    return log(counts.total()) - sum(c * log(c) for c in counts.values()) / counts.total()


def sorted_rows(rows):
    tokens = np.array(rows, dtype=np.int32)
    return tokens[lexicographic_order(tokens)]


def expected(rows, blocks):
    """E (block, position) from the definition, one prefix at a time."""
    rows = [tuple(row) for row in rows]
    grid = np.empty((blocks, len(rows[0])))
    for block in range(blocks):
        for t in range(grid.shape[1]):
            macro = counted_entropy([row[t : t + 1] if block == 0 else row[: t + 1] for row in rows])
            grid[block, t] = macro - np.mean([counted_entropy([row[s] for row in rows]) for s in range(t + 1)])
    return grid


def test_listed_ceilings_of_random_rows():
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 5, (400, 6)) * rng.integers(0, 2, (400, 6))
    found = entropies.ceilings_listed(sorted_rows(rows), 3)
    np.testing.assert_allclose(found.emergence, expected(rows, 3), atol=1e-9)


@pytest.mark.parametrize(
    ("names", "shots", "bits"), [(25, 4, (18.212, 2.322, 15.890)), (16, 5, (19.0, 2.0, 17.0)), (15, 5, (18.459, 1.953, 16.506))]
)
@pytest.mark.slow
def test_listed_ceilings_of_the_permutation_corpora(names, shots, bits):
    rows = np.full((round(np.exp(lgamma(names + 1) - lgamma(names - shots + 1))), 2 * shots), 99, np.int32)
    rows[:, ::2] = list(permutations(range(names), shots))
    found = entropies.ceilings_listed(rows, 2)
    exact = sum(log(names - k) for k in range(shots)) - log(names) / 2
    assert found.emergence[1, -1] == pytest.approx(exact, abs=1e-9)
    assert found.emergence[0, -1] == pytest.approx(-log(names) / 2, abs=1e-9)
    shown = (found.macro[1, -1], found.micro[1].mean(), found.emergence[1, -1])
    assert np.array(shown) / log(2) == pytest.approx(bits, abs=6e-4)


def corpus(**changes):
    fields = {"recipe": "r", "name": "n", "fingerprint": "f", "num_sequences": 4, "num_positions": 2, "complete": False}
    return CorpusSpec(**(fields | changes))


def test_population_is_the_closed_form_then_the_listed_then_the_corrected():
    tokens = sorted_rows([[0, 1], [0, 1], [2, 1], [2, 3]])
    known = entropies.ceilings_population(tokens, corpus(population_prefix_nats=(1.0, 2.0), population_token_nats=(1.0, 0.5)), 2)
    np.testing.assert_allclose(known.emergence, [[0.0, 0.5 - 0.75], [0.0, 2 - 0.75]])
    complete = entropies.ceilings_population(tokens, corpus(complete=True), 2)
    np.testing.assert_array_equal(complete.macro, entropies.ceilings_listed(tokens, 2).macro)
    corrected = entropies.ceilings_population(tokens, corpus(), 2)
    assert corrected.macro[1, 1] == pytest.approx(entropies.chao_shen_nats(np.array([2, 1, 1])))


def test_corrections_are_absent_where_coverage_is_zero():
    distinct = np.ones(20, dtype=int)
    assert entropies.coverage(distinct) == 0.0
    assert np.isnan(entropies.chao_shen_nats(distinct))
    assert np.isnan(entropies.miller_madow_nats(distinct))


def test_corrections_against_values_worked_by_hand():
    counts = np.array([4, 3, 2, 1])
    assert entropies.coverage(counts) == pytest.approx(0.9)
    plug_in = -sum(p * log(p) for p in (0.4, 0.3, 0.2, 0.1))
    assert entropies.miller_madow_nats(counts) == pytest.approx(plug_in + 3 / 20)
    shrunk = [0.36, 0.27, 0.18, 0.09]
    assert entropies.chao_shen_nats(counts) == pytest.approx(-sum(p * log(p) / (1 - (1 - p) ** 10) for p in shrunk))
    assert entropies.chao_shen_nats(np.array([7])) == 0.0


def test_corrections_come_closer_to_the_population_than_the_plug_in():
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(200))
    truth = -np.sum(p * np.log(p))
    errors = {"plug_in": [], "miller_madow": [], "chao_shen": []}
    for _ in range(50):
        counts = rng.multinomial(300, p)
        errors["plug_in"].append(entropies.entropy_nats(counts) - truth)
        errors["miller_madow"].append(entropies.miller_madow_nats(counts) - truth)
        errors["chao_shen"].append(entropies.chao_shen_nats(counts) - truth)
    means = {name: abs(np.mean(values)) for name, values in errors.items()}
    assert means["miller_madow"] < 0.6 * means["plug_in"]
    assert means["chao_shen"] < 0.3 * means["plug_in"]


def test_collisions_count_different_classes_on_one_row_only():
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((50, 7)).astype(np.float16)
    classes = np.arange(50) // 2  # rows of one class may differ: batches differ in the last bits
    assert entropies.num_collisions(entropies.row_classes(rows), classes) == 0
    rows[10] = rows[21]
    rows[33] = rows[32]  # one class, equal rows: fine
    assert entropies.num_collisions(entropies.row_classes(rows), classes) == 2
    rows[45] = rows[21]
    assert entropies.num_collisions(entropies.row_classes(rows), classes) == 3


def test_row_classes_tell_equal_rows():
    rows = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]], np.float32)
    classes = entropies.row_classes(rows)
    assert classes[0] == classes[2] != classes[1]
    assert set(classes) == {0, 1}
