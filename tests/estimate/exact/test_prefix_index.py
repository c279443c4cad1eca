"""What problems see of a corpus, against a count by hand; and how little of a row is kept."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from ie_store.estimate.exact.prefix_index import PrefixIndex, corpus_bytes
from ie_store.prefixes import lexicographic_order
from ie_store.specs import CorpusSpec

CORPUS = CorpusSpec(recipe="r", name="n", fingerprint="f", num_sequences=400, num_positions=3, complete=True)


def some_tokens(kinds, rows=400):
    tokens = np.random.default_rng(kinds).integers(0, kinds, (rows, 3)).astype(np.int32) * 7 + 5
    return tokens[lexicographic_order(tokens)]


def index_of(tokens):
    return PrefixIndex(tokens, np.unique(tokens), CORPUS, 4)


@pytest.mark.parametrize("kinds", [2, 300, 70_000])
def test_outcomes_are_those_of_a_dictionary(kinds):
    tokens = some_tokens(kinds)
    index, values = index_of(tokens), np.unique(tokens).tolist()
    for position in range(3):
        prefixes = [tuple(row[: position + 1]) for row in tokens.tolist()]
        number = {prefix: place for place, prefix in enumerate(dict.fromkeys(prefixes))}
        found = index.prefixes(position)
        assert found.of_sequence.tolist() == [number[prefix] for prefix in prefixes]
        assert found.first_rows.tolist() == [prefixes.index(prefix) for prefix in number]
        assert found.counts.tolist() == [prefixes.count(prefix) for prefix in number]
        lone = index.lone_tokens(position)
        assert [values[row] for row in lone.first_rows[lone.of_sequence]] == tokens[:, position].tolist()
        numbers = index.prefix_tokens(position)
        assert [tuple(values[token] for token in row) for row in numbers] == list(number)


def test_a_part_is_the_index_of_its_rows():
    tokens, chosen = some_tokens(9), np.array([3, 50, 51, 52, 300])
    part = index_of(tokens).part(chosen)
    alone = PrefixIndex(tokens[chosen], np.unique(tokens), replace(CORPUS, num_sequences=5, complete=False), 4)
    for position in range(3):
        assert part.prefixes(position).of_sequence.tolist() == alone.prefixes(position).of_sequence.tolist()
        assert part.lone_tokens(position).first_rows.tolist() == alone.lone_tokens(position).first_rows.tolist()
    np.testing.assert_array_equal(part.population.macro, alone.population.macro)


@pytest.mark.parametrize(("kinds", "most"), [(200, 4), (20_000, 7)])
def test_a_row_of_three_tokens_is_kept_in_few_bytes(kinds, most):
    index = index_of(some_tokens(kinds))
    assert (
        sum(value.nbytes for value in vars(index).values() if isinstance(value, np.ndarray) and len(value) == 400) <= most * 400
    )


@pytest.mark.parametrize(("num_positions", "kinds"), [(3, 200), (3, 20_000), (40, 200), (40, 70_000)])
def test_what_looking_at_a_corpus_takes_is_counted(num_positions, kinds):
    """By what Python and numpy allocate, beside tokens as they are read."""
    tokens = np.random.default_rng(0).integers(0, kinds, (20_000, num_positions)).astype(np.int32)
    tokens = tokens[lexicographic_order(tokens)]
    read, kept = corpus_bytes(len(tokens), num_positions, kinds)
    token_values = np.unique(tokens)
    corpus = replace(CORPUS, num_sequences=len(tokens), num_positions=num_positions)
    tracemalloc.start()
    try:
        index = PrefixIndex(tokens, token_values, corpus, 4)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(index.groups, range) == (kinds > 200 or num_positions > 3)
    of_tokens = 2**18  # and of what does not grow with rows
    assert tokens.nbytes + peak <= read + of_tokens
    assert held <= kept + of_tokens
    assert read <= 1.5 * (tokens.nbytes + peak)
