"""Sides of a split, and scores of all pairs as one matmul. Pure functions over stacked problems.

A separable critic scores the pair (i, j) as ``<left_i, right_j> + row_i + column_j``; a bound needs the mean score of
the joint pairs (i, i) and the mean of exp(score) over pairs of the product of marginals. For rows drawn one by one
these are all (i, j) with i != j (identical sequences are one row with their share), the columns j being the side's first
`MOST_REFERENCES` rows where it has more: time stays linear in the rows. For a table of distinct rows with probabilities p
they are all pairs, weighted p_i p_j.

A cap (problem,) is the most, and its negative the least, that a score may say.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

MOST_REFERENCES = 16384
"""Columns that a row of a draw is scored against: a bound on time, and its logarithm one on what so many can show.
Varied by ``benchmarks/critic_constants.py``."""
BEND = 20.0
"""Beyond the cap by this much, a float32 exponential no longer tells a bent score from its cap. Far below it lie denormal
numbers, which take some 50 times as long."""


@dataclass(frozen=True, kw_only=True)
class SplitPart:
    """The rows of one side of a split (train, validation or test) and their probabilities."""

    rows: Tensor
    """(row,) int32 indices into the problem's rows."""
    probabilities: Tensor
    """(row,) float64, summing to 1."""
    num_sequences: int
    """Sequences behind the rows."""
    is_weighted: bool
    """Distinct rows with weights, whose expectations are exact sums, instead of a draw per row."""
    is_whole: bool = False
    """A table that is its own population: no other side has a row that this one lacks."""
    num_draws: int | None = None
    """Of a draw from a table: how many rows were drawn, of which these are the distinct ones with their shares."""

    def to(self, device: torch.device) -> "SplitPart":
        """The same side on another device."""
        return replace(self, rows=self.rows.to(device), probabilities=self.probabilities.to(device))

    @property
    def num_references(self) -> int:
        """Columns that each row is scored against: all rows of a table, and of a draw the first `MOST_REFERENCES`."""
        return len(self.rows) if self.is_weighted else min(len(self.rows), MOST_REFERENCES)

    def references(self) -> "SplitPart":
        """The rows that are those columns."""
        return self.head(MOST_REFERENCES)

    def head(self, size: int) -> "SplitPart":
        """The first ``size`` rows of a draw, or the whole of a table: a cheaper look at the same side."""
        return self if self.is_weighted or len(self.rows) <= size else self.part(torch.arange(size))

    def part(self, index: Tensor) -> "SplitPart":
        """The rows at ``index`` (row,) of a draw."""
        index = index.to(self.rows.device)
        probabilities = self.probabilities[index]
        return SplitPart(
            rows=self.rows[index], probabilities=probabilities / probabilities.sum(), num_sequences=len(index), is_weighted=False
        )

    def renumbered(self) -> "SplitPart":
        """The same side of its own rows alone, numbered in order."""
        return replace(self, rows=torch.arange(len(self.rows), dtype=self.rows.dtype, device=self.rows.device))

    def among(self, rows: Tensor) -> "SplitPart":
        """The part of a table whose rows are among ``rows`` (row,)."""
        kept = torch.isin(self.rows, rows)
        probabilities = self.probabilities[kept]
        return replace(self, rows=self.rows[kept], probabilities=probabilities / probabilities.sum())


@dataclass(frozen=True, kw_only=True)
class SeparableScores:
    """Separable scores of rows against rows."""

    left: Tensor
    """(problem, row, rank)"""
    right: Tensor
    """(problem, row, rank)"""
    row: Tensor
    """(problem, row)"""
    column: Tensor
    """(problem, row)"""

    def at(self, rows: Tensor) -> "SeparableScores":
        """Those of the rows ``rows`` (row,)."""
        return SeparableScores(
            left=self.left[:, rows], right=self.right[:, rows], row=self.row[:, rows], column=self.column[:, rows]
        )

    def part(self, here: slice) -> "SeparableScores":
        """Those of the rows ``here``."""
        return SeparableScores(
            left=self.left[:, here], right=self.right[:, here], row=self.row[:, here], column=self.column[:, here]
        )

    def plus(self, other: "SeparableScores") -> "SeparableScores":
        """Those whose scores are the sums of both scores."""
        return SeparableScores(
            left=torch.cat([self.left, other.left], -1),
            right=torch.cat([self.right, other.right], -1),
            row=self.row + other.row,
            column=self.column + other.column,
        )

    def scaled(self, temper: Tensor) -> "SeparableScores":
        """All scores times ``temper`` (problem,)."""
        factor = temper[:, None]
        return SeparableScores(
            left=self.left * factor[..., None], right=self.right, row=self.row * factor, column=self.column * factor
        )

    def shifted(self, nats: Tensor) -> "SeparableScores":
        """All scores of a row plus ``nats`` (problem, row or 1)."""
        return SeparableScores(left=self.left, right=self.right, row=self.row + nats, column=self.column)

    def where(self, chosen: Tensor, other: "SeparableScores") -> "SeparableScores":
        """These factors for the problems in ``chosen`` (problem,), those of ``other`` for the rest."""
        return SeparableScores(
            left=torch.where(chosen[:, None, None], self.left, other.left),
            right=torch.where(chosen[:, None, None], self.right, other.right),
            row=torch.where(chosen[:, None], self.row, other.row),
            column=torch.where(chosen[:, None], self.column, other.column),
        )

    def diagonal(self) -> Tensor:
        """Scores (problem, row) of the pairs (i, i)."""
        return (self.left * self.right).sum(-1) + self.row + self.column

    def against(self, other: "SeparableScores") -> Tensor:
        """Scores (problem, row, other row) of all rows against the columns of ``other``."""
        return torch.baddbmm(other.column[:, None], self.left, other.right.transpose(1, 2)).add_(self.row[..., None])


def soft_cap(scores: Tensor, cap: Tensor) -> Tensor:
    """Scores (problem, ...) bent smoothly into (-cap, cap), unchanged but near the ends: no pair alone decides a mean."""
    cap = cap.view(-1, *[1] * (scores.dim() - 1))
    return softplus(scores + cap) - softplus(scores - cap) - cap


class _CappedExp(torch.autograd.Function):
    """`capped_exp`. Of pairs there are many and of anything else few, so its gradient is made of its value, in few passes."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, cap: Tensor) -> Tensor:
        found = capped_exp_(scores.clone(), cap)
        ctx.save_for_backward(found, _floor(scores, cap))
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # Of y = (e + f) / (ef + 1) with e = exp(score) and f = exp(-cap): dy / dscore = (y - f)(1 - yf) / (1 - f^2).
        found, floor = ctx.saved_tensors
        scale = 1 / (1 - floor * floor)
        return found.sub(floor).mul_(torch.addcmul(scale, found, -floor * scale)).mul_(gradients[0]), None


def capped_exp(scores: Tensor, cap: Tensor) -> Tensor:
    """exp(soft_cap(scores)) with one exponential: it lies within exp(-cap)..exp(cap), so a plain float32 mean is safe."""
    found: Tensor = _CappedExp.apply(scores, cap)  # type: ignore[no-untyped-call]
    return found


def capped_exp_(scores: Tensor, cap: Tensor) -> Tensor:
    """`capped_exp` in the place of ``scores``, which need no gradient."""
    cap = cap.view(-1, *[1] * (scores.dim() - 1))
    floor = _floor(scores, cap)
    exponentials = scores.clamp_(-cap - BEND, cap + BEND).exp_()
    bend = (exponentials * floor).add_(1)
    return exponentials.add_(floor).div_(bend)


def _floor(scores: Tensor, cap: Tensor) -> Tensor:
    return (-cap).exp().view(-1, *[1] * (scores.dim() - 1))
