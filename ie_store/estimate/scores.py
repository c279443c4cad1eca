"""Scores of all pairs as one matmul, and the log-means that bounds are made of. Pure functions over stacked problems.

A separable critic scores the pair (i, j) as ``<left_i, right_j> + row_i + column_j``; a bound needs the mean score of
the joint pairs (i, i) and the log-mean-exp over pairs of the product of marginals. For rows drawn one by one these
are all (i, j) with i != j; for a table of distinct rows with probabilities p they are all pairs, weighted p_i p_j.
"""

from dataclasses import dataclass
from math import exp

import torch
from torch import Tensor
from torch.nn.functional import softplus

PAIRS_PER_BLOCK = 2**22
"""Pairs scored at once: what bounds the memory of a pass over all pairs."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """The rows of one side of a split (train, validation or test) and their probabilities."""

    rows: Tensor
    """(row,) indices into the problem's rows."""
    probabilities: Tensor
    """(row,) float64, summing to 1."""
    num_sequences: int
    """Sequences behind the rows: as many as rows, unless the rows are a table."""
    is_table: bool
    """Distinct rows with weights, whose expectations are exact sums, instead of a draw per row."""

    def to(self, device: torch.device) -> "Side":
        """The same side on another device."""
        return Side(
            rows=self.rows.to(device),
            probabilities=self.probabilities.to(device),
            num_sequences=self.num_sequences,
            is_table=self.is_table,
        )


@dataclass(frozen=True, kw_only=True)
class Factors:
    """Separable scores of rows against rows."""

    left: Tensor
    """(problem, row, rank)"""
    right: Tensor
    """(problem, row, rank)"""
    row: Tensor
    """(problem, row)"""
    column: Tensor
    """(problem, row)"""

    def joint(self, cap: float) -> Tensor:
        """Capped scores (problem, row) of the pairs (i, i)."""
        return soft_cap((self.left * self.right).sum(-1) + self.row + self.column, cap)

    def exponentials(self, start: int, stop: int, cap: float) -> Tensor:
        """exp(capped score) (problem, stop - start, row) of rows start..stop-1 against all rows."""
        scores = torch.baddbmm(self.column[:, None], self.left[:, start:stop], self.right.transpose(1, 2))
        return capped_exp(scores + self.row[:, start:stop, None], cap)


def join_factors(first: Factors, second: Factors) -> Factors:
    """Factors whose scores are the sums of both scores."""
    return Factors(
        left=torch.cat([first.left, second.left], -1),
        right=torch.cat([first.right, second.right], -1),
        row=first.row + second.row,
        column=first.column + second.column,
    )


def soft_cap(scores: Tensor, cap: float) -> Tensor:
    """Scores bent smoothly into (-cap, cap), unchanged but near the ends: no pair alone decides a mean."""
    return softplus(scores + cap) - softplus(scores - cap) - cap


def capped_exp(scores: Tensor, cap: float) -> Tensor:
    """exp(soft_cap(scores)) with one exponential: it lies within exp(-cap)..exp(cap), so its plain float32 mean is safe."""
    exponentials = scores.clamp(-cap - 20, cap + 20).exp()  # where the bend is over, in float32
    return (exponentials + exp(-cap)) / (exponentials * exp(-cap) + 1)


def pair_means(factors: Factors, side: Side, cap: float) -> tuple[Tensor, Tensor]:
    """Means of exp(capped score) under the product of the marginals: (problem, row) over columns, and over rows.

    ``factors`` are those of the side's rows. A draw pairs each row with all others, a table with all rows by their
    probability. Streams over blocks of rows.
    """
    num_problems, num_rows = factors.row.shape
    probabilities = side.probabilities.to(factors.row.dtype)
    others = probabilities if side.is_table else probabilities * num_rows / (num_rows - 1)
    rows, columns = [], torch.zeros_like(factors.column)
    size = max(1, PAIRS_PER_BLOCK // (num_problems * num_rows))
    for start in range(0, num_rows, size):
        stop = min(start + size, num_rows)
        block = factors.exponentials(start, stop, cap)
        if not side.is_table:
            block.diagonal(start, dim1=1, dim2=2).zero_()
        rows.append(block @ others)
        columns += others[start:stop] @ block
    return torch.cat(rows, 1), columns
