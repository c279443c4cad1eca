"""Sums over all listed prefixes of `decode`: q(s|h) proportional to p(s) exp(sum over positions of tau_j f_j(x_sj|h)).

Scores run down the tree of prefixes (`decode_tree`) to the nodes that hold the listed ones, for a tile of states at a time.
Where many prefixes share few last tokens, the last position is summed first, by one matrix product, and no score of a whole
prefix is ever made::

    position 0     A            B                (2 nodes, state): the token's score
    position 2     A,C   A,D    B,A   B,C        (4 nodes, state): the parent's score + the token's
    position 4     p(s) of each (node, token) @ exp of the last token's score (token, state)

Exponents are taken from the highest score of a position. Where that leaves nothing of the sum of a state, because the best
last tokens follow none of the best nodes, its prefixes are summed one by one.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ie_store.estimate.estimators.decode_newton import maximise
from ie_store.estimate.estimators.decode_tree import LastTable, PrefixTree
from ie_store.estimate.exponentials import log_sum_exp_, softmax_

Moments = tuple[float, Tensor, Tensor]
"""Log sum, mean (level,) and covariance (level, level)."""
TILE_VALUES = {"cpu": 2**19, "cuda": 2**26}
"""Scores (node, state) in memory at once: on a processor what it keeps near itself."""
LEAST_TILE = 32
"""States at once below which a sum over nodes is slow."""
MOST_VALUES = 10 * 2**20
"""Scores (node, state) from which on there are fewer than those states at once: bounds memory."""
FEWEST_TEMPER_ROWS, MOST_TEMPER_ROWS, TEMPER_VALUES = 256, 1024, 2**25
"""Validation rows that tempers are fitted on: as many as have so many scores (node, state, level)."""
LEAST_SUM = -50.0
"""Logarithm of a state's sum below which, in units of the highest scores, what counted as the least exponent could be seen."""


def log_ratios(tree: PrefixTree, scores: list[Tensor], own: Tensor, tempers: Tensor | None = None) -> Tensor:
    """ln q(s|h) / p(s) (state,) of each state's ``own`` (state,) prefix.

    Args:
        tree: the listed prefixes.
        scores: (state, token) of each level.
        own: (state,)
        tempers: (level,) that scores are multiplied by, a tile at a time: those of all tokens may be large; None for 1.
    """
    times = list(torch.ones(len(scores)) if tempers is None else tempers)
    sums = scores[0].new_empty(len(own))
    for rows in _tiles(tree, len(own)):  # in place: a tile's own result would lie between what other tiles have freed
        tile = [(temper * part[rows].T).contiguous() for temper, part in zip(times, scores, strict=True)]
        sums[rows] = _log_sums(tree, tree.last, tile)
    of_own = zip(times, _own_scores(tree, scores, own), strict=True)
    found = torch.stack([temper * part for temper, part in of_own]).sum(dim=0)
    log_shares = tree.log_shares[own]
    log_q = torch.clamp(found + log_shares - sums, max=0)  # q is at most 1, to the last bit
    return log_q.double() - log_shares.double()


def fit_tempers(tree: PrefixTree, scores: list[Tensor], own: Tensor, weights: Tensor) -> Tensor:
    """tau (level,) that maximises the ``weights``ed mean (state,) of `log_ratios`: a concave problem.

    Rows that are all told apart would ask for ever larger ones: they are held near 1 as by one row's worth of doubt.

    Args:
        tree: the listed prefixes.
        scores: (state, token) of each level, of validation rows.
        own: (state,) prefixes of those rows.
        weights: (state,) summing to 1.
    """
    affordable = TEMPER_VALUES // (tree.num_nodes * len(scores))
    every = -(-len(own) // min(MOST_TEMPER_ROWS, max(FEWEST_TEMPER_ROWS, affordable)))
    scores, own, weights = [part[::every] for part in scores], own[::every], weights[::every].to(scores[0].dtype)
    weights = weights / weights.sum()
    above_own = [part - mine[:, None] for part, mine in zip(scores, _own_scores(tree, scores, own), strict=True)]
    tiles = [([part[rows].T.contiguous() for part in above_own], weights[rows]) for rows in _tiles(tree, len(own), len(scores))]
    held, eye = 1 / len(own), torch.eye(len(scores), dtype=weights.dtype, device=own.device)

    def objective(tempers: Tensor) -> tuple[float, Tensor, Tensor]:
        away = tempers - 1
        value, gradient, curvature = -float(away.square().sum()) * held / 2, -held * away, held * eye
        for part, weight in tiles:
            for log_sum, mean, covariance in _moments(tree, tree.last, part, tempers, weight):
                value, gradient, curvature = value - log_sum, gradient - mean, curvature + covariance
        return value, gradient, curvature

    return maximise(objective, eye.sum(dim=0))[0]


def _own_scores(tree: PrefixTree, scores: list[Tensor], own: Tensor) -> list[Tensor]:
    return [part.gather(1, column[own][:, None].long())[:, 0] for part, column in zip(scores, tree.columns, strict=True)]


def _log_sums(tree: PrefixTree, last: LastTable | None, scores: list[Tensor]) -> Tensor:
    """ln of the sum over all prefixes (state,), for ``scores`` (token, state) of each position with a choice."""
    total = scores[0].index_select(0, tree.levels[0].tokens)
    for level, of_token in zip(tree.levels[1 : len(tree.levels) - (last is not None)], scores[1:], strict=False):
        total = total if level.parents is None else total.index_select(0, level.parents)
        total.add_(of_token.index_select(0, level.tokens))
    if last is None:
        return log_sum_exp_(total.add_(tree.log_shares[:, None]), 0)
    sums, least = last.sums(scores[-1]), total.amax(dim=0) + LEAST_SUM
    found = log_sum_exp_(total.add_(sums.found.log()), 0)
    lost = found < least
    found += sums.log_unit
    for some in _parts(tree, lost):
        found[some] = _log_sums(tree, None, [part[:, some] for part in scores])
    return found


def _moments(
    tree: PrefixTree, last: LastTable | None, scores: list[Tensor], tempers: Tensor, weights: Tensor
) -> Iterator[Moments]:
    """Of the scores under q, in parts to be added: states weigh ``weights`` (state,), ``tempers`` (level,) are applied here.

    ``scores`` (token, state) are in units of the own prefix's: cancellation is then least where q is most certain.
    """
    nodes = tree.columns if last is None else last.node_tokens
    parts = scores[0].new_empty((len(scores), len(nodes[0]), len(weights)))
    total = parts.new_zeros(parts.shape[1:])
    for part, of_token, tokens, temper in zip(parts, scores, nodes, tempers, strict=False):
        total.addcmul_(torch.index_select(of_token, 0, tokens, out=part), temper)
    if last is None:
        log_sums, q = softmax_(total.add_(tree.log_shares[:, None]), 0)
        yield float(weights @ log_sums), *_weigh(parts, q, weights)
        return
    sums, least = last.sums(tempers[-1] * scores[-1]), total.amax(dim=0) + LEAST_SUM
    log_sums, q = softmax_(total.add_(sums.found.log()), 0)
    lost = log_sums < least
    kept, mean = weights.masked_fill(lost, 0), parts[-1].copy_(sums.mean(scores[-1]))
    means, covariance = _weigh(parts, q, kept)
    within = sums.mean(scores[-1].square()).sub_(mean.square())
    covariance[-1, -1] += (q * within).sum(dim=0) @ kept
    yield float((log_sums + sums.log_unit) @ kept), means, covariance
    for some in _parts(tree, lost, len(scores)):
        yield from _moments(tree, None, [part[:, some] for part in scores], tempers, weights[some])


def _weigh(parts: Tensor, q: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of ``parts`` (level, node, state) under ``q`` (node, state)."""
    of_q = parts * q
    means = of_q.sum(dim=1)
    second = of_q.mul_(weights).flatten(1) @ parts.flatten(1).T
    return means @ weights, second - (means * weights) @ means.T


def least_tile(num_nodes: int) -> int:
    """States at once, at least, over so many nodes."""
    return max(1, min(LEAST_TILE, MOST_VALUES // num_nodes))


def _tiles(tree: PrefixTree, num_states: int, values_per_node: int = 1) -> Iterator[slice]:
    size = _tile_size(tree, tree.num_nodes, values_per_node)
    for start in range(0, num_states, size):
        yield slice(start, min(start + size, num_states))


def _parts(tree: PrefixTree, lost: Tensor, values_per_node: int = 1) -> Iterator[Tensor]:
    """Those of the states (state,) that are ``lost``, as many at once as meet all prefixes."""
    if bool(lost.any()):
        yield from torch.nonzero(lost)[:, 0].split(_tile_size(tree, len(tree.log_shares), values_per_node))


def _tile_size(tree: PrefixTree, num_nodes: int, values_per_node: int = 1) -> int:
    """States at once that meet so many nodes."""
    num_values = num_nodes * values_per_node
    return max(least_tile(num_values), TILE_VALUES[tree.log_shares.device.type] // num_values)
