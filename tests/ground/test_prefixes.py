from collections import Counter
from itertools import combinations, pairwise
from math import log, perm

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ie_store.errors import InputError
from ie_store.prefixes import (
    common_prefix_lengths,
    entropy_nats,
    lexicographic_order,
    make_segments,
    num_distinct_prefixes,
    permutation_nats,
    prefix_entropies_nats,
    schedule_stops,
    token_entropies_nats,
)

ROWS = arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 3))


def counted_nats(outcomes):
    counts = Counter(outcomes)
    return -sum(n / len(outcomes) * log(n / len(outcomes)) for n in counts.values())


def in_order(tokens):
    return tokens[lexicographic_order(tokens)]


@given(ROWS)
def test_order_is_pythons_and_stable(tokens):
    assert lexicographic_order(tokens).tolist() == sorted(range(len(tokens)), key=lambda row: tokens[row].tolist())


@given(ROWS)
def test_first_differences_and_distinct_prefixes_by_counting(tokens):
    tokens = in_order(tokens)
    rows = tokens.tolist()
    num_positions = tokens.shape[1]
    shared = [
        next((position for position in range(num_positions) if above[position] != row[position]), num_positions)
        for above, row in pairwise(rows)
    ]
    differences = common_prefix_lengths(tokens)
    assert differences.tolist() == [0, *shared]
    distinct = [len({tuple(row[: position + 1]) for row in rows}) for position in range(num_positions)]
    assert num_distinct_prefixes(differences, num_positions).tolist() == distinct


@given(ROWS)
def test_entropies_by_counting(tokens):
    tokens = in_order(tokens)
    rows = tokens.tolist()
    positions = range(tokens.shape[1])
    prefixes = [counted_nats([tuple(row[: position + 1]) for row in rows]) for position in positions]
    assert prefix_entropies_nats(tokens) == pytest.approx(prefixes, abs=1e-12)
    assert token_entropies_nats(tokens) == pytest.approx([counted_nats([row[p] for row in rows]) for p in positions], abs=1e-12)


@given(ROWS)
def test_unsorted_rows_are_refused_naming_the_row(tokens):
    rows = tokens.tolist()
    descents = [row for row in range(1, len(rows)) if rows[row] < rows[row - 1]]
    if descents:
        with pytest.raises(InputError, match=f"row {descents[0]} comes before row {descents[0] - 1}"):
            common_prefix_lengths(tokens)
    else:
        common_prefix_lengths(tokens)


@given(st.lists(st.integers(0, 50), min_size=1).filter(any))
def test_entropy_ignores_outcomes_that_never_happen(counts):
    assert entropy_nats(np.array(counts)) == pytest.approx(counted_nats([i for i, n in enumerate(counts) for _ in range(n)]))
    assert entropy_nats(np.array([7])) == 0.0


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_permutation_nats_against_exact_integers(sizes):
    assert permutation_nats(*sizes) == pytest.approx(log(perm(*sizes)), abs=1e-9)


@given(ROWS, st.integers(0, 30))
def test_the_schedule_is_the_cheapest_of_all(tokens, overhead):
    differences = common_prefix_lengths(in_order(tokens))
    num_positions = tokens.shape[1]
    distinct = num_distinct_prefixes(differences, num_positions)

    def cost(stops):
        edges = [0, *stops, num_positions]
        pieces = pairwise(edges)
        return sum(overhead + int(distinct[stop - 1]) * (stop - start) for start, stop in pieces)

    inner = range(1, num_positions)
    cheapest = min(cost(stops) for size in range(num_positions) for stops in combinations(inner, size))
    segments = make_segments(differences, schedule_stops(differences, num_positions, overhead))
    assert sum(segment.num_tokens + overhead for segment in segments) == cheapest
    assert [segment.start for segment in segments] == [0, *(segment.stop for segment in segments[:-1])]
    assert segments[-1].stop == num_positions


@given(ROWS, st.integers(0, 30))
def test_every_prefix_is_reached_through_its_parents(tokens, overhead):
    tokens = in_order(tokens)
    differences = common_prefix_lengths(tokens)
    segments = make_segments(differences, schedule_stops(differences, tokens.shape[1], overhead))
    known: list[tuple[int, ...]] = [()]  # prefix of each node of the segment before
    for segment in segments:
        parents = segment.parent_nodes if segment.start else np.zeros(len(segment.node_rows), dtype=int)
        new_tokens = tokens[segment.node_rows, segment.start : segment.stop].tolist()
        known = [known[parent] + tuple(new) for parent, new in zip(parents, new_tokens, strict=True)]
        assert known == sorted({tuple(row[: segment.stop]) for row in tokens.tolist()})
