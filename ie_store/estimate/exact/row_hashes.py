"""Which rows of a slab are equal byte by byte, from 128 bits of each: computed a few rows at a time, while a slab is read.

A row's bytes, as 32-bit words, are multiplied by fixed random 64-bit numbers and summed, twice (multilinear hashing, Lemire and
Kaser 2014): for two rows that differ, both sums agree with a probability below 2^-66.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 512
"""What they are widened to stays in the processor's cache."""
Hashes = NDArray[np.uint64]
"""(row, 2)"""


def row_hashes(rows: NDArray[np.generic]) -> Hashes:
    """The `Hashes` of ``rows`` (row, column), C-contiguous, of any dtype."""
    words = _words(rows)
    factors = _factors(words.shape[1])
    found = np.empty((len(rows), 2), np.uint64)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        here = slice(start, start + ROWS_AT_ONCE)
        np.matmul(words[here].astype(np.uint64), factors, out=found[here])
    return found


def classes_of(hashes: Hashes) -> NDArray[np.int32] | None:
    """Class (row,) of equal rows of ``hashes``, numbered 0..K-1; None where no two are equal."""
    halves = np.sort(hashes[:, 0])
    if (halves[1:] != halves[:-1]).all():
        return None
    del halves
    order = np.lexsort(hashes.T)
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = False
    for half in hashes.T:
        in_order = half[order]
        starts[1:] |= in_order[1:] != in_order[:-1]
    if starts.all():
        return None
    classes = np.empty(len(order), np.int32)
    classes[order] = np.cumsum(starts, dtype=np.int32) - 1
    return classes


def _words(rows: NDArray[np.generic]) -> NDArray[np.uint32]:
    """(row, word) their bytes; an odd half word counts as a word of its own."""
    size = rows.shape[1] * rows.itemsize
    raw = rows.view(np.uint8).reshape(len(rows), size)
    if size % 4 == 0:
        return raw.view(np.uint32)
    return np.pad(raw, ((0, 0), (0, -size % 4))).view(np.uint32)


@lru_cache
def _factors(num_words: int) -> NDArray[np.uint64]:
    drawn = np.random.default_rng(num_words).integers(0, 2**64, (num_words, 2), dtype=np.uint64)
    return drawn | np.uint64(1)
