"""How the outcomes of a position stand for what came before: prefixes of prefixes, and the token at each place.

Distinct prefixes in lexicographic order that share a shorter prefix stand next to each other, so a shorter prefix is a
segment of them::

    outcome of position 1    parent, of position 0    token at 1, at 0
    A ,                      0                        0  0
    A C                      0                        1  0
    B ,                      1                        0  1
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Past:
    """Positions 0..t of the prefixes that end at t."""

    parents: tuple[NDArray[np.int64], ...]
    """By position s < t: (prefix of s + 1,) the prefix of s that it goes on from, rising; the same numbers where each does
    so once."""
    tokens: tuple[NDArray[np.int64], ...]
    """By position s <= t: (prefix of s,) its last token, numbered from 0 over those that stand at s."""

    @property
    def num_tokens(self) -> NDArray[np.int64]:
        """(position,) distinct tokens at each position."""
        return np.array([int(numbers.max()) + 1 for numbers in self.tokens])

    @property
    def num_prefixes(self) -> NDArray[np.int64]:
        """(position,) distinct prefixes that end at each position."""
        return np.array([len(numbers) for numbers in self.tokens])

    @property
    def branches(self) -> tuple[bool, ...]:
        """By position s < t: some prefix of s goes on in more than one way."""
        return tuple(bool(len(parents) != parents[-1] + 1) for parents in self.parents)


def past_of(tokens: NDArray[np.integer], differences: NDArray[np.int64], position: int) -> Past:
    """The past of all distinct prefixes that end at ``position``.

    Args:
        tokens: (sequence, position) in lexicographic order.
        differences: (sequence,) their `common_prefix_lengths`.
        position: t.
    """
    starts = [np.flatnonzero(differences <= s) for s in range(position + 1)]
    parents = [np.searchsorted(short, long, side="right") - 1 for short, long in pairwise(starts)]
    last = [np.unique(tokens[rows, s], return_inverse=True)[1].astype(np.int64) for s, rows in enumerate(starts)]
    return Past(parents=tuple(parents), tokens=tuple(last))
