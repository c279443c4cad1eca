"""Sums over all listed prefixes of `decode`: q(s|h) proportional to p(s) exp(sum over positions of tau_j f_j(x_sj|h)).

The scores of a prefix are those of the prefix before it plus one token's, and prefixes are sorted: so sums run down the
tree of distinct prefixes, for a tile of states at a time, and a position without choice costs nothing::

    position 0     A        B          (2 nodes, state)
    position 2     A,C A,D  B,A B,C    (4 nodes, state): the parent's score + the token's
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.estimate.estimators.decode_newton import maximise

TILE_VALUES = 2**24
"""Scores (prefix, state) in memory at once."""
FEWEST_TEMPER_ROWS, MOST_TEMPER_ROWS, TEMPER_VALUES = 256, 1024, 2**25
"""Validation rows that tempers are fitted on: as many as have so many scores (prefix, state, level)."""
LEAST_EXPONENT = -60.0
"""Smaller ones count as this: nothing beside the largest, and denormal numbers are slow."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """The distinct prefixes that end at one position."""

    parents: Tensor | None
    """(node,) node of the level above; None where no node has more than one child"""
    tokens: Tensor
    """(node,) token 0..K-1 of the position"""


@dataclass(frozen=True, kw_only=True)
class PrefixTree:
    """All listed prefixes, by the positions at which there is a choice."""

    levels: tuple[Level, ...]
    log_shares: Tensor
    """(outcome,) ln p(s); the nodes of the last level are the outcomes"""


def make_tree(tokens: NDArray[np.int64], columns: list[Tensor], positions: list[int], log_shares: Tensor) -> PrefixTree:
    """The tree of sorted distinct ``tokens`` (outcome, position); ``columns`` are the tokens (outcome,) at ``positions``."""
    levels: list[Level] = []
    above = np.zeros(len(tokens), dtype=np.int64)
    for number, (position, column) in enumerate(zip(positions, columns, strict=True)):
        is_last = number + 1 == len(positions)
        starts = np.ones(len(tokens), dtype=bool)
        if not is_last:
            starts[1:] = (tokens[1:, : position + 1] != tokens[:-1, : position + 1]).any(axis=1)
        first = torch.from_numpy(np.flatnonzero(starts)).to(column.device)
        parents = above[starts]
        is_same = len(parents) == above[-1] + 1 and number > 0
        levels.append(Level(parents=None if is_same else torch.from_numpy(parents).to(column.device), tokens=column[first]))
        above = np.cumsum(starts) - 1
    return PrefixTree(levels=tuple(levels), log_shares=log_shares)


def prefix_scores(tree: PrefixTree, scores: list[Tensor]) -> Tensor:
    """Summed scores (outcome, state) from ``scores`` (token, state) of each level, ln p(s) included."""
    total = torch.zeros((1, scores[0].shape[1]), dtype=scores[0].dtype, device=scores[0].device)
    for level, of_token in zip(tree.levels, scores, strict=True):
        total = total if level.parents is None else total.index_select(0, level.parents)
        total = total.add_(of_token.index_select(0, level.tokens)) if len(total) > 1 else total + of_token[level.tokens]
    return total.add_(tree.log_shares[:, None])


def log_ratios(tree: PrefixTree, scores: list[Tensor], own: Tensor) -> Tensor:
    """ln q(s|h) / p(s) (state,) of each state's ``own`` (state,) prefix, for ``scores`` (state, token) of each level."""
    pieces = []
    for rows in _tiles(len(own), len(tree.log_shares)):
        total = prefix_scores(tree, [part[rows].T.contiguous() for part in scores])
        mine = own[rows]
        found, most = total.gather(0, mine[None])[0], total.amax(dim=0)
        log_q = found - most - total.sub_(most).clamp_(min=LEAST_EXPONENT).exp_().sum(dim=0).log()
        pieces.append(log_q.double() - tree.log_shares[mine].double())  # q is at most 1, to the last bit
    return torch.cat(pieces)


def fit_tempers(tree: PrefixTree, columns: list[Tensor], scores: list[Tensor], own: Tensor, weights: Tensor) -> Tensor:
    """tau (level,) that maximises the ``weights``ed mean (state,) of `log_ratios`: a concave problem.

    Rows that are all told apart would ask for ever larger ones: they are held near 1 as by one row's worth of doubt.

    Args:
        tree: the listed prefixes.
        columns: (outcome,) token of each prefix, of each level.
        scores: (state, token) of each level, of validation rows.
        own: (state,) prefixes of those rows.
        weights: (state,) summing to 1.
    """
    affordable = TEMPER_VALUES // (len(tree.log_shares) * len(scores))
    every = -(-len(own) // min(MOST_TEMPER_ROWS, max(FEWEST_TEMPER_ROWS, affordable)))
    scores, own, weights = [part[::every].float() for part in scores], own[::every], weights[::every].float()
    weights = weights / weights.sum()
    size, log_shares, held = len(scores), tree.log_shares.float(), 1 / len(own)

    def objective(tempers: Tensor) -> tuple[float, Tensor, Tensor]:
        away = tempers - 1
        value, gradient = -float(away.square().sum()) * held / 2, -held * away
        curvature = held * torch.eye(size, device=own.device)
        for rows in _tiles(len(own), len(log_shares) * size):
            stacked = torch.stack([part[rows][:, tokens] for part, tokens in zip(scores, columns, strict=True)], dim=1)
            log_q = torch.log_softmax(torch.einsum("l,rlo->ro", tempers, stacked) + log_shares, dim=1)
            mine, weight = own[rows], weights[rows]
            value += float(weight @ (log_q.gather(1, mine[:, None])[:, 0] - log_shares[mine]))
            weighted = stacked * log_q.exp_()[:, None]
            means = weighted.sum(dim=2)
            gradient += weight @ (stacked.gather(2, mine[:, None, None].expand(-1, size, 1))[..., 0] - means)
            second = torch.bmm(weighted, stacked.transpose(1, 2)) - means[:, :, None] * means[:, None]
            curvature += torch.einsum("r,rkl->kl", weight, second)
        return value, gradient, curvature

    return maximise(objective, torch.ones(size, device=own.device))[0]


def _tiles(num_states: int, values_per_state: int) -> Iterator[slice]:
    size = max(1, TILE_VALUES // values_per_state)
    for start in range(0, num_states, size):
        yield slice(start, min(start + size, num_states))
