"""Ordered selections of k out of n names: counted, numbered, drawn and listed without a loop over rows.

Selections are numbered in lexicographic order. The number, written in the mixed base n, n-1, ..., n-k+1, gives one digit per
place, and digit i says which of the names that are still free stands there (a Lehmer code)::

    n = 3, k = 2     number 0 1 2 3 4 5      digits 00 01 10 11 20 21      selection ab ac ba bc ca cb
"""

from math import perm

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def unrank(ranks: Indices, num_names: int, num_chosen: int) -> Indices:
    """Selections (row, place), as indices of names, that bear the numbers ``ranks`` (row,)."""
    digits = np.empty((len(ranks), num_chosen), dtype=np.int64)
    for place in reversed(range(num_chosen)):
        ranks, digits[:, place] = np.divmod(ranks, num_names - place)
    return _chosen(digits)


def _chosen(digits: Indices) -> Indices:
    chosen = np.empty_like(digits)
    for place in range(digits.shape[1]):
        index = digits[:, place].copy()
        for taken in np.sort(chosen[:, :place], axis=1).T:
            index += index >= taken  # in rising order, each taken name below shifts the count of free ones by one
        chosen[:, place] = index
    return chosen


def draw_selections(num_names: int, num_chosen: int, num_rows: int, seed: int) -> tuple[Indices, Indices]:
    """``num_rows`` different selections drawn uniformly: their numbers (row,) and name indices (row, place).

    Selections too many to be numbered in 64 bits bear their place in the draw instead.
    """
    generator = np.random.default_rng(seed)
    population = perm(num_names, num_chosen)
    if population < 2**63:
        ranks = np.sort(generator.choice(population, size=num_rows, replace=False, shuffle=False))
        return ranks, unrank(ranks, num_names, num_chosen)
    free = np.arange(num_names, num_names - num_chosen, -1)
    digits = np.empty((0, num_chosen), dtype=np.int64)
    while len(digits) < num_rows:
        more = generator.integers(0, free, size=(num_rows - len(digits), num_chosen))
        digits = np.concatenate([digits, more])
        _, first = np.unique(digits, axis=0, return_index=True)
        digits = digits[np.sort(first)]
    return np.arange(num_rows), _chosen(digits)
