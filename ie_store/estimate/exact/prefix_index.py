"""The distinct things (prefixes or tokens) that a corpus holds at one position, and the rows of a slab that stand for them.

Equal prefixes have equal states, so a problem is a table with one row per distinct prefix (macro) or token (micro), and
the outcome of each sequence::

    sequence  prefix   of_sequence     outcome  first_rows  counts
    0         A ,      0               0        0           2
    1         A ,      0               1        2           1
    2         B ,      1
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ie_store.estimate.exact.entropies import Ceilings, ceilings_listed, ceilings_population
from ie_store.estimate.exact.past import Past, past_of
from ie_store.prefixes import common_prefix_lengths
from ie_store.specs import CorpusSpec, Problem


@dataclass(frozen=True, kw_only=True)
class DistinctPrefixes:
    """What a state can tell apart at one position."""

    of_sequence: NDArray[np.int32]
    """(sequence,) outcome of each sequence, 0..K-1"""
    first_rows: NDArray[np.int32]
    """(outcome,) row of the slab that stands for the outcome"""
    counts: NDArray[np.int32]
    """(outcome,) sequences with that outcome"""


def corpus_bytes(num_sequences: int, num_positions: int, num_tokens: int) -> tuple[int, int]:
    """What is held while a corpus of ``num_tokens`` distinct ones is read and looked at, and what its `PrefixIndex` keeps."""
    number = np.min_scalar_type(num_tokens).itemsize
    whole, seen = 2 * 4 * num_positions, (4 + number + 1) * num_positions + 56  # as it comes from its file, and looked at
    kept = number * num_positions + np.min_scalar_type(num_positions).itemsize
    return num_sequences * (8 + max(whole, seen)), num_sequences * kept


class PrefixIndex:
    """The rows of a corpus, as all problems on it see them: outcomes by position, and exact values.

    Of a row it keeps the numbers of its tokens among the distinct ones, in as few bytes as they need, and where it leaves the
    row above: for as long as a run goes on, that is what a corpus of any size costs.
    """

    def __init__(self, tokens: NDArray[np.integer], token_values: NDArray[np.int32], corpus: CorpusSpec, num_blocks: int) -> None:
        """``tokens`` (sequence, position) in lexicographic order, ``token_values`` (token,) the distinct ones, rising."""
        self._corpus, self._num_blocks = corpus, num_blocks
        numbers = np.empty(tokens.shape, np.min_scalar_type(len(token_values)))
        for place, column in enumerate(tokens.T):
            numbers[:, place] = np.searchsorted(token_values, column)
        self._tokens, self._token_values = numbers, token_values
        self._differences = common_prefix_lengths(numbers).astype(np.min_scalar_type(tokens.shape[1]))
        self.listed: Ceilings = ceilings_listed(numbers, num_blocks)
        self.population: Ceilings = ceilings_population(numbers, corpus, num_blocks)

    def part(self, sequences: NDArray[np.int64]) -> "PrefixIndex":
        """That of a sample, ``sequences`` (sequence,), rising, of which no more is known than they show."""
        corpus = replace(
            self._corpus, num_sequences=len(sequences), complete=False, population_prefix_nats=None, population_token_nats=None
        )
        return PrefixIndex(self._token_values[self._tokens[sequences]], self._token_values, corpus, self._num_blocks)

    @property
    def groups(self) -> NDArray[np.int32] | range:
        """(sequence,) equal for identical full sequences; a range where all differ."""
        starts = self._differences < self._tokens.shape[1]
        return range(len(starts)) if starts.all() else _numbers(starts)

    def num_distinct(self, problem: Problem) -> int:
        """Distinct prefixes (macro) or tokens (micro) of a problem."""
        outcomes = self.prefixes if problem.level == "macro" else self.lone_tokens
        return len(outcomes(problem.position).counts)

    def prefixes(self, position: int) -> DistinctPrefixes:
        """Distinct prefixes that end at ``position``; rows of a macro slab."""
        starts = self._differences <= position
        first_rows = np.flatnonzero(starts).astype(np.int32)
        return DistinctPrefixes(
            of_sequence=_numbers(starts), first_rows=first_rows, counts=np.diff(first_rows, append=np.int32(len(starts)))
        )

    def past(self, position: int) -> Past:
        """What came before the end of the distinct prefixes of ``position``."""
        return past_of(self._tokens, self._differences, position)

    def prefix_tokens(self, position: int) -> NDArray[np.unsignedinteger]:
        """(outcome, position + 1) tokens of the distinct prefixes that end at ``position``, as rows of a micro slab."""
        return self._tokens[self._differences <= position, : position + 1]

    def last_tokens(self, position: int) -> DistinctPrefixes:
        """Distinct tokens at ``position``; rows of the macro slab of layer 0, which sees its own token only."""
        _, first_rows, of_sequence, counts = np.unique(
            self._tokens[:, position], return_index=True, return_inverse=True, return_counts=True
        )
        return _distinct(of_sequence, first_rows, counts)

    def lone_tokens(self, position: int) -> DistinctPrefixes:
        """Distinct tokens at ``position``; rows of a micro slab."""
        numbers, of_sequence, counts = np.unique(self._tokens[:, position], return_inverse=True, return_counts=True)
        return _distinct(of_sequence, numbers, counts)


def _distinct(*parts: NDArray[np.integer]) -> DistinctPrefixes:
    of_sequence, first_rows, counts = (part.astype(np.int32) for part in parts)
    return DistinctPrefixes(of_sequence=of_sequence, first_rows=first_rows, counts=counts)


def _numbers(starts: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(sequence,) number of the stretch that each sequence is in; ``starts`` (sequence,) where one begins."""
    numbers = np.cumsum(starts, dtype=np.int32)
    numbers -= 1
    return numbers
