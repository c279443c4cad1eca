"""How the rows of one side meet its columns under the product of the marginals, and with which weights.

Of n rows the first r are the columns, its references; r is n where n is small. A bound's mean over the product needs no more
than those rows too, so that it takes the same time however many rows there are; InfoNCE, which has a mean for every row,
lets all rows meet the columns::

                 column 0 ... r-1
    row 0        [ -              ]      a draw leaves out its own pair (i, i): x and y of one sequence are no draw
      ...        [     -          ]      of the product
    row r-1      [              - ]
    row r          . . . . . . . .       further rows have no column of their own, and meet columns for InfoNCE alone
      ...          . . . . . . . .

Every pair that is counted has x and y of different sequences, so a mean over them is unbiased whatever r; what few rows and
columns cost is variance. It is counted: what a row adds, as a row and as a column, enters its influence as heavily as it
enters the mean.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """Weights of rows and columns."""

    rows: Tensor
    """(row,) probabilities of all rows"""
    meeting: Tensor
    """(meeting row,) probabilities of the first rows, that meet the columns"""
    columns: Tensor
    """(column,) probabilities of the first rows, as columns"""
    is_weighted: bool
    """A table of distinct rows, which meets all pairs, its own among them."""
    num_draws: int | None = None
    """Of a draw from a table: a row that was drawn more than once meets itself, each draw all but its own."""

    @staticmethod
    def of(probabilities: Tensor, is_weighted: bool, num_columns: int, num_meeting: int | None = None) -> "Pairing":
        """Rows with ``probabilities`` (row,), the first of which are columns, and the first of which meet them.

        By default as many meet them as there are columns.
        """
        meeting, columns = (_of_first(probabilities, count) for count in (num_meeting or num_columns, num_columns))
        return Pairing(rows=probabilities, meeting=meeting, columns=columns, is_weighted=is_weighted)

    @cached_property
    def left_out(self) -> Tensor:
        """Probability of the pairs that are left out."""
        if self.num_draws is not None:
            return torch.full_like(self.rows[0], 1 / self.num_draws)
        shared = (self.meeting[: len(self.columns)] * self.columns).sum()
        return torch.zeros_like(shared) if self.is_weighted else shared

    @cached_property
    def counted(self) -> Tensor:
        """(row, column) share of each pair that is counted, of rows that all are columns: of a draw's own pairs none.

        Of a row that was drawn k times, k - 1 in k of its pairs with itself are.
        """
        repeated = torch.zeros_like(self.rows) if self.num_draws is None else 1 - 1 / (self.num_draws * self.rows).round()
        counted = torch.ones_like(self.rows).expand(len(self.rows), -1).clone()
        if not self.is_weighted:
            counted.diagonal().copy_(repeated)
        return counted

    @cached_property
    def others(self) -> Tensor:
        """(column,) weights of the columns that a row meets."""
        return self.columns / (1 - self.left_out)

    @cached_property
    def by_row(self) -> Tensor:
        """(meeting row,) weights of the rows that a column meets."""
        return self.meeting / (1 - self.left_out)

    @cached_property
    def own(self) -> Tensor:
        """(meeting row,) weight of a row's own pair beside those of its columns, where it is counted."""
        if self.num_draws is not None:
            return torch.full_like(self.rows, 1 / self.num_draws)
        if len(self.columns) == len(self.rows):
            return self.rows
        return (self.rows / self.rows[: len(self.columns)].sum())[: len(self.meeting)]

    @cached_property
    def more(self) -> Tensor:
        """(meeting row,) what counting the own pair adds to the weights: nothing, but for rows that are no columns."""
        is_column = torch.arange(len(self.meeting), device=self.rows.device) < len(self.columns)
        return torch.where(is_column, 0.0, self.own)

    def with_own(self, means: Tensor, joint: Tensor, here: slice = slice(None)) -> Tensor:
        """Means (problem, row) over columns with the own pair of score ``joint`` (problem, row) among them, as InfoNCE has it.

        ``here`` are the meeting rows that are given.
        """
        if self.is_weighted:
            return means
        return (means * (1 - self.left_out) + self.own[here] * joint.exp()) / (1 + self.more[here])

    def spread(self, values: Tensor) -> Tensor:
        """What each row (problem, row) adds, from ``values`` (problem, first row) of the rows that meet, or of the columns.

        Where these are all rows, the values themselves. Otherwise their distance from the overall mean counts as often as
        the rows they stand for, and the rows beyond add the mean.
        """
        size = values.shape[1]
        if size == len(self.rows):
            return values
        weights = _of_first(self.rows, size)
        mean = (values @ weights)[:, None]
        return mean + pad(weights / self.rows[:size] * (values - mean), (0, len(self.rows) - size))


def _of_first(probabilities: Tensor, size: int) -> Tensor:
    return probabilities if size == len(probabilities) else probabilities[:size] / probabilities[:size].sum()
