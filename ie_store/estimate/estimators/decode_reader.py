"""The reader of `decode`: fitted on one fold's train and validation rows, scored on its test rows."""

from dataclasses import dataclass
from math import log, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.errors import InputError
from ie_store.estimate.critics.folds import VALIDATION_EVERY, Fold, make_folds
from ie_store.estimate.estimators.decode_design import Column, Design, make_design
from ie_store.estimate.estimators.decode_heads import Head, fit_head, own_log_ratios, token_features
from ie_store.estimate.estimators.decode_list import fit_tempers, log_ratios
from ie_store.estimate.estimators.decode_tree import PrefixTree, make_tree
from ie_store.estimate.exact.prefix_index import DistinctPrefixes
from ie_store.estimator_options import DecodeOptions

SHARES = (1.0, 0.5, 0.2, 0.1, 0.03, 0.01, 1e-3, 1e-4)
"""Shares of p in q that validation rows choose from; 1 is the reader that knows nothing."""
LEAST_GAIN_ERRORS = 2.0
"""Standard errors by which validation rows must prefer a reader to the one that knows nothing."""
FEWEST_TO_CHOOSE = 10
"""Validation rows below which a standard error means nothing."""
ERROR_CHANCE = 0.05
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The prefixes that a reader chooses from, at one position."""

    shares: Tensor
    """(outcome,) p(s), float64"""
    columns: list[Column]
    """Of the positions at which there is a choice, rising."""
    tree: PrefixTree


@dataclass(frozen=True, kw_only=True)
class FoldReading:
    """What one fold's reader gets of its held-out rows."""

    nats: float
    half_width_nats: float
    """Of the 95% interval for the mean over all held-out rows, shared among folds; 0 where all were scored."""
    token_nats: dict[int, float]
    """By position with a choice: the score of that position's own head."""
    scored: NDArray[np.int64]
    """(scored,) outcomes, each once"""
    ratios: NDArray[np.float64]
    """(scored,) ln q(s|h) / p(s)"""
    num_train: int
    unseen_share: float


def list_prefixes(tokens: NDArray[np.int64], counts: NDArray[np.int64], lone_tokens: Tensor) -> Listed:
    """What there is to choose from.

    Args:
        tokens: (outcome, position) sorted distinct prefixes, as rows of ``lone_tokens``.
        counts: (outcome,) sequences of each.
        lone_tokens: (token, hidden) states of the tokens alone.
    """
    device = lone_tokens.device
    shares = torch.from_numpy(counts / counts.sum()).to(device)
    columns = []
    for position in range(tokens.shape[1]):
        values, numbers = np.unique(tokens[:, position], return_inverse=True)
        if len(values) > 1:
            of_outcome = torch.from_numpy(numbers).to(device)
            of_token = torch.zeros(len(values), dtype=torch.float64, device=device).index_add_(0, of_outcome, shares)
            columns.append(
                Column(
                    position=position,
                    tokens=of_outcome,
                    log_shares=of_token.log().float(),
                    features=token_features(lone_tokens[torch.from_numpy(values).to(device)], of_token),
                )
            )
    tree = make_tree(tokens, [c.tokens for c in columns], [c.position for c in columns], shares.log().float())
    return Listed(shares=shares, columns=columns, tree=tree)


def split_prefixes(outcomes: DistinctPrefixes, options: DecodeOptions) -> tuple[Fold, ...]:
    """The folds, by distinct prefix; empty where there are too few to hold any out."""
    if len(outcomes.counts) < 2 * max(VALIDATION_EVERY, options.folds):
        return ()
    return make_folds(outcomes.of_sequence, outcomes.of_sequence, options.folds, options.seed)


def require_apart(fold: Fold) -> None:
    """Raise `InputError` where a prefix stands on two sides of a fold."""
    sides = torch.cat([fold.train.rows, fold.validation.rows, fold.test.rows])
    common = len(sides) - len(torch.unique(sides))
    if common:
        raise InputError(f"{common} prefixes are on two sides of a fold: a held-out score needs them apart")


def read_fold(rows: Tensor, listed: Listed, fold: Fold, number: int, options: DecodeOptions) -> FoldReading:
    """Fit a reader on a fold's train and validation rows, and score its test rows.

    Args:
        rows: (outcome, hidden) states, on the device that computes.
        listed: what to choose from.
        fold: sides of distinct prefixes.
        number: of the fold.
        options: ``seed``, ``folds`` and ``test_rows`` are used.

    Raises:
        InputError: a prefix on two sides.
    """
    require_apart(fold)
    design = make_design(rows, fold, listed.columns)
    heads = [fit_head(design, column, seen) for column, seen in zip(listed.columns, design.seen, strict=True)]
    scores = [head.scores(design.validation_states) for head in heads]
    columns = [column.tokens for column in listed.columns]
    tempers = fit_tempers(listed.tree, scores, design.validation, design.validation_weights)
    found = log_ratios(listed.tree, _tempered(scores, tempers), design.validation)
    share = choose_share(found, design.validation_weights)
    own_shares = [
        choose_share(own_log_ratios(head, part, head.column.tokens[design.validation]), design.validation_weights)
        for head, part in zip(heads, scores, strict=True)
    ]
    scored, weights, num_draws = draw_test_rows(fold, number, options)
    ratios, own = _score(design, listed, heads, tempers, scored)
    mixed = mix(ratios, share)
    nats = float(weights @ mixed)
    return FoldReading(
        nats=nats,
        half_width_nats=_half_width(mixed, weights, nats, num_draws, listed, share, options.folds),
        token_nats={
            head.column.position: float(weights @ mix(of_head, own_share))
            for head, of_head, own_share in zip(heads, own, own_shares, strict=True)
        },
        scored=scored.cpu().numpy(),
        ratios=mixed.cpu().numpy(),
        num_train=len(fold.train.rows),
        unseen_share=_unseen_share(columns, fold),
    )


def _tempered(scores: list[Tensor], tempers: Tensor) -> list[Tensor]:
    return [temper * part for temper, part in zip(tempers, scores, strict=True)]


def _score(design: Design, listed: Listed, heads: list[Head], tempers: Tensor, scored: Tensor) -> tuple[Tensor, list[Tensor]]:
    """ln q(s|h) / p(s) (scored,) before mixing, of the list and of each head alone."""
    ratios: list[Tensor] = []
    own: list[list[Tensor]] = [[] for _ in heads]
    for start in range(0, len(scored), ROWS_AT_ONCE):
        chosen = scored[start : start + ROWS_AT_ONCE]
        states = design.states(chosen)
        scores = [head.scores(states) for head in heads]
        for found, head, part in zip(own, heads, scores, strict=True):
            found.append(own_log_ratios(head, part, head.column.tokens[chosen]).double())
        ratios.append(log_ratios(listed.tree, _tempered(scores, tempers), chosen))
    return torch.cat(ratios), [torch.cat(found) for found in own]


def mix(ratios: Tensor, share: float) -> Tensor:
    """ln((1 - share) q/p + share) from ln q/p, in float64."""
    ratios = ratios.double()
    if share == 1.0:
        return torch.zeros_like(ratios)
    return torch.logaddexp(ratios + log(1 - share), torch.full_like(ratios, log(share)))


def choose_share(ratios: Tensor, weights: Tensor) -> float:
    """The share of p with the best mean over validation rows; 1 unless they are enough and the gain is clear of its error."""
    if len(ratios) < FEWEST_TO_CHOOSE:
        return 1.0
    weights = weights.double()
    found = {share: mix(ratios, share) for share in SHARES}
    best = max(found, key=lambda share: float(weights @ found[share]))
    gain = float(weights @ found[best])
    error = sqrt(float(weights.square() @ (found[best] - gain).square()))
    return best if gain > LEAST_GAIN_ERRORS * error else 1.0


def draw_test_rows(fold: Fold, number: int, options: DecodeOptions) -> tuple[Tensor, Tensor, int]:
    """Outcomes (scored,) to score, their weights (scored,) summing to 1, and how many draws they are; 0 means all."""
    test, draws = fold.test, options.test_rows // options.folds
    if options.test_rows == 0 or draws >= len(test.rows):
        return test.rows, test.probabilities, 0
    counts = np.random.default_rng([options.seed, number]).multinomial(draws, test.probabilities.cpu().numpy())
    drawn = torch.from_numpy(np.flatnonzero(counts)).to(test.rows.device)
    return test.rows[drawn], torch.from_numpy(counts[counts > 0] / draws).to(test.rows.device), draws


def _half_width(mixed: Tensor, weights: Tensor, mean: float, num_draws: int, listed: Listed, share: float, folds: int) -> float:
    """Two-sided empirical Bernstein bound (Maurer and Pontil 2009, theorem 4) at a fold's part of the chance of error."""
    if num_draws == 0 or share == 1.0:
        return 0.0
    variance = float(weights @ (mixed - mean).square()) * num_draws / (num_draws - 1)
    reach = -log(float(listed.shares.min())) - log(share)
    doubt = log(4 * folds / ERROR_CHANCE)
    return sqrt(2 * variance * doubt / num_draws) + 7 * reach * doubt / (3 * (num_draws - 1))


def _unseen_share(columns: list[Tensor], fold: Fold) -> float:
    unseen = torch.zeros(len(fold.test.rows), dtype=torch.bool, device=fold.test.rows.device)
    for tokens in columns:
        unseen |= ~torch.isin(tokens[fold.test.rows], tokens[fold.train.rows])
    return float(fold.test.probabilities @ unseen.double())
