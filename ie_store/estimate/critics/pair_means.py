"""Means over the pairs of a side, which is all that bounds need to know of them. Nothing of the size rows x columns is held.

Scores are asked for a few rows at a time, and each few meet the columns in tiles that fit a core's cache::

    rows     |  at once  |  at once  | ...       mapped and scored, a thread each
    columns  | tile | tile | tile | ...           met by the rows at once

What is found of rows is written where it is kept: small results given back would cut up the memory that large ones leave, the
more the more rows there are.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from ie_store.estimate.critics.pairing import Pairing
from ie_store.estimate.critics.scores import SeparableScores, SplitPart, capped_exp_, soft_cap
from ie_store.estimate.device import each_on_one_thread
from ie_store.estimate.exponentials import exp_below_

Found = TypeVar("Found")
Scores = Callable[[Tensor], SeparableScores]
"""The scores of the rows (row,) asked for."""
ROWS_AT_ONCE = 1024
"""Rows that are scored at once, of all problems together: bounds memory."""
PAIRS_PER_TILE = {"cpu": 2**20, "cuda": 2**24}
"""Pairs that are scored at once, by type of device: on a CPU, few enough columns for its cache."""


@dataclass(frozen=True, kw_only=True)
class PairMeans:
    """Joint scores, and means of exp(capped score) under the product of the marginals."""

    pairing: Pairing
    joint: Tensor
    """(problem, row) capped scores of the pairs (i, i)"""
    row_means: Tensor
    """(problem, row) over columns: what each row adds as a row, as `Pairing.spread` gives it"""
    column_means: Tensor
    """(problem, row) over rows: what each row adds as a column, likewise"""
    contrast_means: Tensor | None
    """(problem, row) likewise, each row's exponentials divided by their mean with its own pair, as InfoNCE does, where all rows
    meet fewer columns"""


def pair_means(scores: Scores, side: SplitPart, cap: Tensor, *, all_meet: bool = False) -> PairMeans:
    """Means over the pairs of a side's rows, its references or ``all_meet``, with its columns, and all joint scores."""
    columns = scored(scores, side.references().rows, len(cap))
    num_columns = columns.row.shape[1]
    num_meeting = len(side.rows) if all_meet else num_columns
    pairing = Pairing.of(side.probabilities.to(cap.dtype), side.is_weighted, num_columns, num_meeting)
    wants_contrast = num_meeting > num_columns

    joint = columns.row.new_empty((len(cap), len(side.rows)))
    row_means = torch.zeros_like(joint[:, :num_meeting])

    def of_rows(here: slice) -> tuple[Tensor, Tensor]:
        factors = columns.part(here) if here.stop <= num_columns else scores(side.rows[here])
        joint[:, here] = soft_cap(factors.diagonal(), cap)
        rows = slice(here.start, max(here.start, min(here.stop, num_meeting)))
        meeting, means = factors.part(slice(0, rows.stop - rows.start)), row_means[:, rows]
        by_column, contrasts = torch.zeros_like(columns.row), torch.zeros_like(columns.row)

        def blocks() -> Iterator[tuple[slice, Tensor]]:
            for tile in column_tiles(means, num_columns):
                block = capped_exp_(meeting.against(columns.part(tile)), cap)
                if not side.is_weighted:
                    block.diagonal(here.start - tile.start, dim1=1, dim2=2).zero_()
                yield tile, block

        for tile, block in blocks():
            means += block @ pairing.others[tile]
            by_column[:, tile] = pairing.by_row[rows] @ block
        if wants_contrast:
            with_own = pairing.with_own(means, joint[:, rows], rows)
            shares = pairing.meeting[rows] / with_own / (1 + pairing.more[rows])
            for tile, block in blocks():
                contrasts[:, tile] = torch.bmm(shares[:, None], block)[:, 0]
        return by_column, contrasts

    by_column, contrasts = torch.zeros_like(columns.row), torch.zeros_like(columns.row)
    for part in over_rows(of_rows, len(side.rows), len(cap), cap.device):
        by_column += part[0]
        contrasts += part[1]
    return PairMeans(
        pairing=pairing,
        joint=joint,
        row_means=pairing.spread(row_means),
        column_means=pairing.spread(by_column),
        contrast_means=pairing.spread(contrasts) if wants_contrast else None,
    )


def joint_scores(scores: Scores, side: SplitPart) -> Tensor:
    """Scores (problem, row) of the pairs (i, i) of a side's rows, as they are."""
    first = scores(side.rows[:1]).row
    found = first.new_empty((len(first), len(side.rows)))

    def fill(here: slice) -> None:
        found[:, here] = scores(side.rows[here]).diagonal()

    deque(over_rows(fill, len(side.rows), len(first), side.rows.device), maxlen=0)
    return found


def log_means(factors: SeparableScores, reference: SeparableScores, log_probabilities: Tensor) -> Tensor:
    """ln of the mean of exp(score), uncapped, of each row (problem, row) against weighted reference columns."""
    weighted = replace(reference, column=reference.column + log_probabilities)
    highest = torch.full_like(factors.row, -torch.inf)[..., None]
    total = torch.zeros_like(highest)
    for tile in column_tiles(factors.row, reference.row.shape[1]):
        block = factors.against(weighted.part(tile))
        higher = torch.maximum(highest, block.amax(2, keepdim=True))
        total.mul_((highest - higher).exp_()).add_(exp_below_(block, higher).sum(2, keepdim=True))
        highest = higher
    return total.log_().add_(highest)[..., 0]


def scored(scores: Scores, index: Tensor, num_problems: int) -> SeparableScores:
    """The scores of rows ``index`` (row,), made a few rows at a time."""
    parts = list(over_rows(lambda here: scores(index[here]), len(index), num_problems, index.device))
    names = ("left", "right", "row", "column")
    return SeparableScores(**{name: torch.cat([getattr(part, name) for part in parts], 1) for name in names})


def over_rows(compute: Callable[[slice], Found], num_rows: int, num_problems: int, device: torch.device) -> Iterator[Found]:
    """``compute`` of a few rows after the other, on a CPU several at a time with a thread each; none of it with gradients."""
    size = max(1, ROWS_AT_ONCE // num_problems)
    parts = [slice(start, min(start + size, num_rows)) for start in range(0, num_rows, size)]

    def without_gradients(here: slice) -> Found:
        with torch.no_grad():
            return compute(here)

    if len(parts) == 1:
        return iter([without_gradients(parts[0])])
    return each_on_one_thread(without_gradients, parts, device)


def row_tiles(rows: Tensor, num_columns: int) -> list[slice]:
    """Parts that cover ``rows`` (problem, row), each of about `PAIRS_PER_TILE` pairs with all columns."""
    return _tiles(rows.shape[1], len(rows) * num_columns, rows.device)


def column_tiles(rows: Tensor, num_columns: int) -> list[slice]:
    """Parts that cover the columns, each of about `PAIRS_PER_TILE` pairs with all ``rows`` (problem, row); none without rows."""
    return _tiles(num_columns, rows.numel(), rows.device) if rows.numel() else []


def _tiles(count: int, pairs_each: int, device: torch.device) -> list[slice]:
    size = max(1, PAIRS_PER_TILE["cpu" if device.type == "cpu" else "cuda"] // pairs_each)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
