"""The nearest rows of every row, exact: candidates from matmuls in float32, distances of the candidates in float64.

A matmul gives |x - y|^2 = |x|^2 + |y|^2 - 2 x.y with an error of at most g (|x| + |y|)^2, g = (hidden + 16) units of rounding.
With that taken off it is a bound from below: a row whose farthest wanted neighbour lies, in float64, no farther than the
bounds of all that are no candidates has its true neighbours. Rows of which that cannot be said are searched again in float64.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SPARE_CANDIDATES = 16
"""Beyond the wanted ones, so that the bound of those left out is clear of them: a choice."""
ROWS_AT_ONCE = 256
"""Queries of one matmul."""
COLUMNS_AT_ONCE = 64
"""Dimensions that are centred together."""
DIFFERENCES_AT_ONCE = 2**19
"""Numbers of one tile of differences in float64: they stay in the processor's cache."""


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """Of every row, the nearest others."""

    distances: NDArray[np.float64]
    """(row, rank) rising"""
    indices: NDArray[np.int64]
    """(row, rank) rows; of equal distances the lower row first"""


def nearest(rows: Tensor, num: int) -> Nearest:
    """The ``num`` nearest other rows of each row, fewer where there are not so many.

    Args:
        rows: (row, hidden) finite, at least two; of any float dtype, taken as they are.
        num: at least 1.
    """
    num = min(num, len(rows) - 1)
    rows = rows if rows.dtype == torch.float64 else rows.float()  # as exact, and faster than half precision
    squared = rows.new_empty((len(rows), num), dtype=torch.float64)
    indices = rows.new_empty((len(rows), num), dtype=torch.int64)
    left = torch.arange(len(rows), device=rows.device)
    for dtype in (torch.float32, torch.float64):
        if not len(left):
            break
        bounds = LowerBounds(rows, dtype)
        unsure = []
        for queries in _cut(left, ROWS_AT_ONCE):
            candidates, least_of_others = bounds.candidates(queries, num + SPARE_CANDIDATES)
            exact = squared_distances(rows, queries, candidates)
            exact, order = exact.sort(dim=1, stable=True)
            squared[queries], indices[queries] = exact[:, :num], candidates.gather(1, order)[:, :num]
            unsure.append(queries[~(exact[:, num - 1] <= least_of_others)])  # where float32 overflowed too
        left = torch.cat([left[:0], *unsure])  # in float64 only ties are left
    return Nearest(distances=squared.sqrt().cpu().numpy(), indices=indices.cpu().numpy())


def _cut(rows: Tensor, at_once: int) -> list[Tensor]:
    return [rows[start : start + at_once] for start in range(0, len(rows), at_once)]


def centred(rows: Tensor, points: Tensor) -> Tensor:
    """``rows`` (row, hidden) less their medians, taken in float64, in ``points`` (row, hidden).

    Not less their means: massive rows would move those away from all others.
    """
    for some, here in zip(rows.split(COLUMNS_AT_ONCE, dim=1), points.split(COLUMNS_AT_ONCE, dim=1), strict=True):
        here.copy_(some.double() - some.double().median(dim=0).values)
    return points


def squared_norms(points: Tensor) -> Tensor:
    """(row,) of ``points`` (row, hidden), a few at a time and in place: results of their own would lie between freed squares."""
    found = points.new_empty(len(points))
    for norms, some in zip(found.split(ROWS_AT_ONCE), points.split(ROWS_AT_ONCE), strict=True):
        torch.sum(some.square(), dim=1, out=norms)
    return found


def squared_distances(rows: Tensor, queries: Tensor, others: Tensor) -> Tensor:
    """(query, other) float64, from rows ``queries`` (query,) to rows ``others`` (query, other), by differences."""
    at_once = max(1, DIFFERENCES_AT_ONCE // (others.shape[1] * rows.shape[1]))
    pairs = zip(_cut(queries, at_once), _cut(others, at_once), strict=True)
    return torch.cat([rows[right].double().sub_(rows[left, None]).square_().sum(dim=2) for left, right in pairs])


class LowerBounds:
    """Bounds from below on squared distances; |x||y| g is one more column of the matmul."""

    def __init__(self, rows: Tensor, dtype: torch.dtype) -> None:
        self._points = rows.new_empty((len(rows), rows.shape[1] + 1), dtype=dtype)
        points = centred(rows, self._points[:, :-1])
        squared = squared_norms(points)
        error = (rows.shape[1] + 16) * torch.finfo(dtype).eps / 2
        self._points[:, -1] = (error * squared).sqrt()
        self._squared = (1 - error) * squared

    def candidates(self, queries: Tensor, num: int) -> tuple[Tensor, Tensor]:
        """Rows (query, candidate), rising, with the lowest bounds, and the least bound (query,) of all other rows."""
        bounds = self.less_own(queries)
        bounds[torch.arange(len(queries), device=queries.device), queries] = torch.inf
        if num >= len(self._points) - 1:
            candidates = bounds.topk(len(self._points) - 1, largest=False, sorted=False).indices
            return candidates.sort(dim=1).values, bounds.new_full((len(queries),), torch.inf, dtype=torch.float64)
        lowest, candidates = bounds.topk(num, largest=False, sorted=False)
        return candidates.sort(dim=1).values, lowest.amax(dim=1).double() + self.own(queries)

    def less_own(self, queries: Tensor) -> Tensor:
        """(query, row) bounds without the part that is the same for all rows: `own`."""
        return torch.addmm(self._squared, self._points[queries], self._points.T, alpha=-2)

    def own(self, queries: Tensor) -> Tensor:
        """(query,) float64, what `less_own` lacks."""
        return self._squared[queries].double()


def ranks_of(rows: Tensor, found: Nearest, targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """(row,) place, from 1, of row ``targets[i]`` among all others by distance from row i; ``found`` holds the first of them."""
    at = found.indices == targets[:, None]
    ranks = np.where(at.any(axis=1), at.argmax(axis=1) + 1.0, np.nan)
    points = centred(rows, torch.empty_like(rows, dtype=torch.float64))
    squared = squared_norms(points)
    for queries in _cut(torch.from_numpy(np.flatnonzero(np.isnan(ranks))).to(rows.device), ROWS_AT_ONCE):
        wanted = torch.from_numpy(targets).to(rows.device)[queries, None]
        distances = torch.addmm(squared, points[queries], points.T, alpha=-2) + squared[queries, None]
        distances[torch.arange(len(queries), device=rows.device), queries] = torch.inf
        closer = (distances < distances.gather(1, wanted)).sum(dim=1).cpu().numpy()
        ranks[queries.cpu().numpy()] = np.maximum(closer, found.indices.shape[1]) + 1.0
    return ranks
