"""The tree of listed prefixes of `decode`: its levels are the positions at which there is a choice.

Prefixes are sorted, so the nodes of a level, the distinct prefixes that end at its position, are intervals of them. Where the
last level has many nodes for each of the level above and few tokens, it is kept as a table of shares::

    listed       A,C,A   A,C,B   A,D,B   B,C,B           nodes above   A,C   A,D   B,C
    p(s)         0.1     0.2     0.4     0.3             token A       0.1
                                                         token B       0.2   0.4   0.3
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.estimate.exponentials import exp_below_

MOST_CELLS = 32
"""Cells of the table for each prefix up to which its product costs less than the scores of all prefixes."""
LEAST_CHILDREN = 2
"""Nodes of the last level for each of the level above from which there is something to save."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """The distinct prefixes that end at one position."""

    parents: Tensor | None
    """(node,) int32 node of the level above; None where no node has more than one child"""
    tokens: Tensor
    """(node,) int32 token 0..K-1 of the position"""


@dataclass(frozen=True, kw_only=True)
class LastTable:
    """What stands at the last level, after each node of the level above."""

    node_tokens: tuple[Tensor, ...]
    """(node,) token 0..K-1 at each level above, of the nodes of the level above"""
    shares: Tensor
    """(node, token) p(s) in units of the largest"""
    log_unit: Tensor
    """() ln of that unit"""

    def sums(self, scores: Tensor) -> "LastSums":
        """Sums over the last tokens, for their ``scores`` (token, state)."""
        best = scores.amax(dim=0)
        likely = exp_below_(scores.clone(), best)
        found = (self.shares @ likely).clamp_(min=torch.finfo(likely.dtype).tiny)
        return LastSums(shares=self.shares, likely=likely, found=found, log_unit=best + self.log_unit)


@dataclass(frozen=True, kw_only=True)
class LastSums:
    """Sums over the last tokens after each node."""

    shares: Tensor
    likely: Tensor
    """(token, state) exp of the scores less the highest of the state"""
    found: Tensor
    """(node, state) of p(s) exp of the score"""
    log_unit: Tensor
    """(state,) ln of the unit of `found`"""

    def mean(self, values: Tensor) -> Tensor:
        """Means (node, state) of ``values`` (token, state) under q after each node."""
        return (self.shares @ (self.likely * values)).div_(self.found)


@dataclass(frozen=True, kw_only=True)
class PrefixTree:
    """All listed prefixes, by the positions at which there is a choice."""

    levels: tuple[Level, ...]
    columns: tuple[Tensor, ...]
    """(outcome,) int32 token 0..K-1 of each level; the nodes of the last level are the outcomes"""
    log_shares: Tensor
    """(outcome,) ln p(s)"""
    last: LastTable | None
    """None where the last level is summed prefix by prefix"""

    @property
    def num_nodes(self) -> int:
        """Nodes that hold a state's scores while they are summed."""
        return len(self.log_shares) if self.last is None else len(self.last.shares)


def make_tree(tokens: NDArray[np.integer], columns: list[Tensor], positions: list[int], log_shares: Tensor) -> PrefixTree:
    """The tree of sorted distinct ``tokens`` (outcome, position); ``columns`` are the tokens (outcome,) at ``positions``."""
    levels: list[Level] = []
    above, starts = np.zeros(len(tokens), dtype=np.int32), np.arange(len(tokens)) == 0
    for number, (position, column) in enumerate(zip(positions, columns, strict=True)):
        is_last = number + 1 == len(positions)
        if is_last:
            starts = np.ones(len(tokens), dtype=bool)
        else:
            starts[1:] |= tokens[1:, position] != tokens[:-1, position]
        parents, of_node = above[starts], column if is_last else column[torch.from_numpy(starts).to(column.device)]
        is_same = len(parents) == above[-1] + 1 and number > 0
        levels.append(Level(parents=None if is_same else torch.from_numpy(parents).to(column.device), tokens=of_node))
        above = np.cumsum(starts, dtype=np.int32) - 1
    tree = PrefixTree(levels=tuple(levels), columns=tuple(columns), log_shares=log_shares, last=None)
    return replace(tree, last=_last_table(tree))


def _last_table(tree: PrefixTree) -> LastTable | None:
    parents, tokens = tree.levels[-1].parents, tree.columns[-1]
    if len(tree.levels) == 1 or parents is None:
        return None
    num_nodes, num_tokens = len(tree.levels[-2].tokens), int(tokens.max()) + 1
    if num_nodes * LEAST_CHILDREN > len(tokens) or num_nodes * num_tokens > MOST_CELLS * len(tokens):
        return None
    log_unit = tree.log_shares.max()
    table = torch.zeros((num_nodes, num_tokens), dtype=log_unit.dtype, device=tokens.device)
    table[parents, tokens] = (tree.log_shares - log_unit).exp()
    first = torch.searchsorted(parents, torch.arange(num_nodes, dtype=parents.dtype, device=tokens.device))
    return LastTable(node_tokens=tuple(column[first] for column in tree.columns[:-1]), shares=table, log_unit=log_unit)
