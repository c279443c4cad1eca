"""How the rows of one side meet its columns under the product of the marginals, and with which weights.

Of n rows the first r are the columns, its references; r is n where n is small. The other rows meet them all the same, so
that time is linear in the rows::

                 column 0 ... r-1
    row 0        [ -              ]      a draw leaves out its own pair (i, i): x and y of one sequence are no draw
      ...        [     -          ]      of the product
    row r-1      [              - ]
    row r        [                ]      further rows have no column of their own
      ...        [                ]

Every pair that is counted has x and y of different sequences, so a mean over them is unbiased whatever r; what few columns
cost is variance. It is counted: what a column adds enters the influence of its own row, as heavily as it enters the mean.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """Weights of rows and columns."""

    rows: Tensor
    """(row,) probabilities"""
    columns: Tensor
    """(column,) probabilities of the first rows, as columns"""
    is_weighted: bool
    """A table of distinct rows, which meets all pairs, its own among them."""

    @staticmethod
    def of(probabilities: Tensor, is_weighted: bool, num_columns: int) -> "Pairing":
        """Rows with ``probabilities`` (row,), the first ``num_columns`` of which are the columns."""
        is_thinned = num_columns < len(probabilities)
        columns = probabilities[:num_columns] / probabilities[:num_columns].sum() if is_thinned else probabilities
        return Pairing(rows=probabilities, columns=columns, is_weighted=is_weighted)

    @property
    def is_thinned(self) -> bool:
        """Some rows are no columns."""
        return len(self.columns) < len(self.rows)

    @property
    def left_out(self) -> Tensor:
        """Probability of the pairs that are left out."""
        shared = (self.rows[: len(self.columns)] * self.columns).sum()
        return torch.zeros_like(shared) if self.is_weighted else shared

    @property
    def others(self) -> Tensor:
        """(column,) weights of the columns that a row meets."""
        return self.columns / (1 - self.left_out)

    @property
    def by_row(self) -> Tensor:
        """(row,) weights of the rows that a column meets."""
        return self.rows / (1 - self.left_out)

    @property
    def own(self) -> Tensor:
        """(row,) weight of a row's own pair beside those of its columns, where it is counted."""
        return self.rows / self.rows[: len(self.columns)].sum() if self.is_thinned else self.rows

    @property
    def more(self) -> Tensor:
        """(row,) what counting the own pair adds to the weights: nothing, but for rows that are no columns."""
        is_column = torch.arange(len(self.rows), device=self.rows.device) < len(self.columns)
        return torch.where(is_column, 0.0, self.own)

    def with_own(self, means: Tensor, joint: Tensor, here: slice = slice(None)) -> Tensor:
        """Means (problem, row) over columns with the own pair of score ``joint`` (problem, row) among them, as InfoNCE has it.

        ``here`` are the rows that are given.
        """
        if self.is_weighted:
            return means
        return (means * (1 - self.left_out) + self.own[here] * joint.exp()) / (1 + self.more[here])

    def spread(self, columns: Tensor) -> Tensor:
        """What each row (problem, row) adds as a column, from means of ``columns`` (problem, column) over rows.

        Where all rows are columns, those means. Otherwise a column's distance from the overall mean counts as often as the
        rows it stands for, and a row that is no column adds the mean.
        """
        if not self.is_thinned:
            return columns
        mean = (columns @ self.columns)[:, None]
        apart = self.columns / self.rows[: len(self.columns)] * (columns - mean)
        return mean + pad(apart, (0, len(self.rows) - len(self.columns)))
