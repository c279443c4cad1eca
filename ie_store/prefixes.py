"""Prefixes of lexicographically sorted token rows: counts, entropies, and the schedule of a prefix-shared forward.

Imports `errors` and numpy alone. In sorted rows, the rows that share a prefix stand next to each other, so a prefix
is an interval of rows and its first row stands for it::

    row   tokens     first difference from the row above
    0     A , B ,    0        distinct prefixes by length: A | A, | A,B and A,C | ...
    1     A , C ,    2
    2     B , A ,    0
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import lgamma

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import InputError

Tokens = NDArray[np.integer]


def lexicographic_order(tokens: Tokens) -> NDArray[np.int64]:
    """Indices (sequence,) that sort the rows of ``tokens`` (sequence, position) lexicographically; stable."""
    return np.lexsort(tokens.T[::-1]).astype(np.int64)


def common_prefix_lengths(tokens: Tokens) -> NDArray[np.int64]:
    """First position (sequence,) at which each sorted row differs from the row above: 0 for row 0, T for a duplicate.

    Raises:
        InputError: rows are not in lexicographic order.
    """
    num_rows, num_positions = tokens.shape
    result = np.zeros(num_rows, dtype=np.int64)
    if num_rows < 2:
        return result
    differs = tokens[1:] != tokens[:-1]
    first = np.where(differs.any(axis=1), differs.argmax(axis=1), num_positions)
    below = np.flatnonzero(first < num_positions)
    descending = tokens[below + 1, first[below]] < tokens[below, first[below]]
    if descending.any():
        row = int(below[descending.argmax()]) + 1
        raise InputError(f"token rows are not sorted: row {row} comes before row {row - 1}; sort them lexicographically")
    result[1:] = first
    return result


def num_distinct_prefixes(differences: NDArray[np.int64], num_positions: int) -> NDArray[np.int64]:
    """Distinct prefixes (position,) that end at each position, from `common_prefix_lengths`."""
    counts = np.bincount(np.minimum(differences, num_positions), minlength=num_positions + 1)[:num_positions]
    return np.cumsum(counts).astype(np.int64)


def entropy_nats(counts: NDArray[np.number]) -> float:
    """Plug-in Shannon entropy in nats of the distribution proportional to ``counts`` (outcome,), whole or not."""
    positive = counts[counts > 0].astype(np.float64)
    total = positive.sum()
    return float(max(0.0, np.log(total) - np.dot(positive, np.log(positive)) / total))


def prefix_counts(tokens: Tokens) -> Iterator[NDArray[np.int64]]:
    """Occurrences (prefix,) of each distinct prefix, for every position of sorted rows ``tokens`` (sequence, position)."""
    differences = common_prefix_lengths(tokens)
    num_rows, num_positions = tokens.shape
    for position in range(num_positions):
        yield np.diff(np.flatnonzero(differences <= position), append=num_rows)


def token_counts(tokens: Tokens) -> Iterator[NDArray[np.int64]]:
    """Occurrences (token,) of each distinct token, for every position of ``tokens`` (sequence, position)."""
    return (np.unique(column, return_counts=True)[1] for column in tokens.T)


def prefix_entropies_nats(tokens: Tokens) -> NDArray[np.float64]:
    """H(prefix) in nats (position,): entropy of the prefix ending at each position, over sorted rows (sequence, position)."""
    return np.array([entropy_nats(counts) for counts in prefix_counts(tokens)])


def token_entropies_nats(tokens: Tokens) -> NDArray[np.float64]:
    """H(token) in nats (position,): entropy of the tokens standing at each position, over rows (sequence, position)."""
    return np.array([entropy_nats(counts) for counts in token_counts(tokens)])


def permutation_nats(num_names: int, num_chosen: int) -> float:
    """ln(n! / (n-k)!): entropy in nats of a uniformly drawn ordered selection of k out of n names."""
    return lgamma(num_names + 1) - lgamma(num_names - num_chosen + 1)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One step of a prefix-shared forward: positions start..stop-1 of every distinct prefix that ends at stop-1."""

    start: int
    stop: int
    node_rows: NDArray[np.int64]
    """(node,) first row, within the group, of each distinct prefix that ends at ``stop - 1``."""
    parent_nodes: NDArray[np.int64]
    """(node,) index of the node's parent in the previous segment; empty where ``start`` is 0."""

    @property
    def num_tokens(self) -> int:
        """Tokens the model computes in this segment."""
        return len(self.node_rows) * (self.stop - self.start)


def schedule_stops(differences: NDArray[np.int64], num_positions: int, step_overhead: int) -> tuple[int, ...]:
    """Cut positions into segments so that computed tokens plus ``step_overhead`` per segment are fewest.

    A segment start..stop-1 costs (distinct prefixes ending at stop-1) x (stop-start) tokens, plus the overhead in
    tokens of one more pass through the model. Full sharing is one segment per position; the plain forward is one
    segment for all. Solved exactly by dynamic programming.

    Args:
        differences: (sequence,) from `common_prefix_lengths` over the group's rows.
        num_positions: T, positions of a row.
        step_overhead: cost of one more pass through the model, in tokens.

    Returns:
        Where each segment stops, rising, the last at T.
    """
    counts = num_distinct_prefixes(differences, num_positions)
    # A cut where no prefix branches is never best: one position later it costs no more, and without it less.
    places = np.concatenate([[0], np.flatnonzero(np.diff(counts)) + 1, [num_positions]])
    best, cut = np.zeros(len(places)), np.zeros(len(places), dtype=np.int64)
    for stop in range(1, len(places)):
        costs = best[:stop] + step_overhead + counts[places[stop] - 1] * (places[stop] - places[:stop])
        cut[stop] = np.argmin(costs)
        best[stop] = costs[cut[stop]]
    stops, place = [], len(places) - 1
    while place > 0:
        stops.append(int(places[place]))
        place = int(cut[place])
    return tuple(reversed(stops))


def make_segments(differences: NDArray[np.int64], stops: tuple[int, ...]) -> tuple[Segment, ...]:
    """The segments that end at ``stops``, in order of position, from `common_prefix_lengths` (sequence,) of the rows."""
    segments: list[Segment] = []
    for start, stop in zip((0, *stops), stops, strict=False):
        node_rows = np.flatnonzero(differences <= stop - 1)
        parents = np.searchsorted(segments[-1].node_rows, node_rows, side="right") - 1 if segments else node_rows[:0]
        segments.append(Segment(start=start, stop=stop, node_rows=node_rows, parent_nodes=parents))
    return tuple(segments)
