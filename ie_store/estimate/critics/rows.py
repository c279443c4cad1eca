"""The rows of a stack of problems: slabs as they are stored, turned into normal scores only where they are asked for.

No copy of a whole slab is made, and none need be in memory. Neighbouring blocks share one: y of a block is x of the next::

    slabs   0   1   2   3
    x       0   1   2         block b reads slab b as x
    y           0   1   2     and slab b + 1 as y
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ie_store.estimate.critics.gaussianize import Marginals, fit_marginals, normal_scores
from ie_store.estimate.critics.pair_means import ROWS_AT_ONCE, Scores
from ie_store.estimate.critics.scores import SeparableScores, SplitPart
from ie_store.estimate.stored_rows import HeldRows, StoredRows

KEPT_VALUES = 3 * 2**24
"""Normal scores of so few values are kept, 192 MiB: those of every stack of two blocks or more, and of fewer than 43,000 rows of
576 columns in one. Those of more are made anew wherever they are asked for."""


@dataclass(frozen=True, kw_only=True)
class PairedSlabs:
    """Which rows are x and which are y of each problem of a stack."""

    slabs: tuple[StoredRows, ...]
    """(slab row, dimension) finite, float16 to float64"""
    x: tuple[int, ...]
    """(problem,) number of the slab that is its x"""
    y: tuple[int, ...]
    """(problem,) number of the slab that is its y"""
    at: Tensor | None = None
    """(row,) the slab row that each row of the problems is; None: slab rows as they are"""

    @staticmethod
    def of(x: Sequence[Tensor], y: Sequence[Tensor]) -> "PairedSlabs":
        """Problems that share no slab, of ``x`` and ``y`` (row, dimension) each."""
        numbers = tuple(range(len(x)))
        return PairedSlabs(slabs=tuple(map(HeldRows, (*x, *y))), x=numbers, y=tuple(len(x) + number for number in numbers))

    @property
    def num_problems(self) -> int:
        """Problems in the stack."""
        return len(self.x)

    @property
    def num_rows(self) -> int:
        """Rows of each problem."""
        return len(self.slabs[0]) if self.at is None else len(self.at)

    @property
    def sizes(self) -> tuple[int, int]:
        """Dimensions of x and of y."""
        return self.slabs[self.x[0]].width, self.slabs[self.y[0]].width

    @property
    def device(self) -> torch.device:
        """Where the slabs are."""
        return self.slabs[0].device

    def rows(self, slab: int, index: Tensor) -> Tensor:
        """Rows ``index`` (row,) of the problems in one slab (row, dimension), stored dtype."""
        return self.slabs[slab].take(index if self.at is None else self.at[index])


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Normal scores of the rows of a stack of problems."""

    pairs: PairedSlabs
    marginals: tuple[Marginals, ...]
    """One for each slab."""
    kept: tuple[Tensor, ...] = ()
    """(row, dimension) those of every slab, where they are few."""

    def width(self, slab: int) -> int:
        """Dimensions of one slab's scores."""
        return self.kept[slab].shape[1] if self.kept else self.pairs.slabs[slab].width

    def of_slab(self, slab: int, index: Tensor) -> Tensor:
        """Normal scores (row, dimension) of rows ``index`` (row,) in one slab."""
        if self.kept:
            return self.kept[slab][index]
        return normal_scores(self.marginals[slab], self.pairs.rows(slab, index))

    def of_slabs(self, index: Tensor) -> list[Tensor]:
        """Those in every slab."""
        return [self.of_slab(slab, index) for slab in range(len(self.pairs.slabs))]

    def only(self, index: Tensor) -> "Rows":
        """The rows ``index`` (row,) alone, mapped once."""
        return Rows(pairs=self.pairs, marginals=self.marginals, kept=tuple(slab.contiguous() for slab in self.of_slabs(index)))

    def at(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Normal scores of x and of y (problem, row, dimension) of rows ``index`` (row,)."""
        found = self.of_slabs(index)
        if self.pairs.num_problems == 1:
            return found[self.pairs.x[0]][None], found[self.pairs.y[0]][None]
        return torch.stack([found[slab] for slab in self.pairs.x]), torch.stack([found[slab] for slab in self.pairs.y])


Scorer = Callable[[Tensor, Tensor], SeparableScores]
"""Scores rows x and y (problem, row, dimension)."""


def scores_at(rows: Rows, scorer: Scorer) -> Scores:
    """The scores of any of ``rows``."""
    return lambda index: scorer(*rows.at(index))


def score_rows(pairs: PairedSlabs, train: SplitPart) -> Rows:
    """Fit the marginals on train rows, of a draw those that are references."""
    seen, numbers = train.references(), range(len(pairs.slabs))
    marginals = tuple(fit_marginals(pairs.rows(slab, seen.rows), seen.probabilities) for slab in numbers)
    kept: tuple[Tensor, ...] = ()
    if sum(slab.width for slab in pairs.slabs) * pairs.num_rows <= KEPT_VALUES:
        everything = torch.arange(pairs.num_rows, device=pairs.device)
        kept = tuple(_row_by_row(marginals[slab], pairs, slab, everything) for slab in numbers)
    return Rows(pairs=pairs, marginals=marginals, kept=kept)


def _row_by_row(marginals: Marginals, pairs: PairedSlabs, slab: int, index: Tensor) -> Tensor:
    """Normal scores of rows ``index`` (row,), each row in one place, from which rows can be taken fast."""
    scores = torch.empty((len(index), pairs.slabs[slab].width), device=pairs.device)
    for start in range(0, len(index), ROWS_AT_ONCE):
        here = slice(start, start + ROWS_AT_ONCE)
        scores[here] = normal_scores(marginals, pairs.rows(slab, index[here]))
    return scores
