"""The reader of `decode`: fitted on one fold's train and validation rows, scored on its test rows."""

from dataclasses import dataclass
from math import log, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.errors import InputError
from ie_store.estimate.critics.folds import VALIDATION_EVERY, Fold, make_folds, shares_of
from ie_store.estimate.estimators.decode_design import Column, Design, make_design
from ie_store.estimate.estimators.decode_heads import Head, calibrate, fit_head, own_log_ratios, token_features
from ie_store.estimate.estimators.decode_list import fit_tempers, log_ratios
from ie_store.estimate.estimators.decode_share import SHARES, choose_share, is_clear, mix
from ie_store.estimate.estimators.decode_training import train_heads
from ie_store.estimate.estimators.decode_tree import PrefixTree, make_tree
from ie_store.estimate.exact.prefix_index import DistinctPrefixes
from ie_store.estimate.memory import give_back
from ie_store.estimate.stored_rows import StoredRows
from ie_store.estimator_options import DecodeOptions

ENOUGH = 0.99
"""Of what validation rows can give, from which heads in closed form are not trained."""
ERROR_CHANCE = 0.05
ROWS_AT_ONCE, LEAST_ROWS, SCORES_AT_ONCE = 4096, 64, 2**22
"""Test rows whose scores (row, token) of all heads are there together, 16 MiB where tokens are many: bounds memory."""


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
    scored: NDArray[np.integer]
    """(scored,) outcomes, each once"""
    ratios: NDArray[np.float64]
    """(scored,) ln q(s|h) / p(s)"""
    num_train: int
    unseen_share: float
    is_trained: bool
    """Whether heads are trained ones, not those in closed form."""


def list_prefixes(tokens: NDArray[np.integer], counts: NDArray[np.integer], lone_tokens: Tensor) -> Listed:
    """What there is to choose from.

    Args:
        tokens: (outcome, position) sorted distinct prefixes, as rows of ``lone_tokens``.
        counts: (outcome,) sequences of each.
        lone_tokens: (token, hidden) states of the tokens alone.
    """
    device = lone_tokens.device
    shares = shares_of(counts).to(device)
    columns = []
    for position in range(tokens.shape[1]):
        values, numbers = np.unique(tokens[:, position], return_inverse=True)
        if len(values) > 1:
            of_outcome = torch.from_numpy(numbers.astype(np.int32)).to(device)
            of_token = torch.zeros(len(values), dtype=torch.float64, device=device).index_add_(0, of_outcome, shares)
            columns.append(
                Column(
                    position=position,
                    tokens=of_outcome,
                    log_shares=of_token.log().float(),
                    features=token_features(lone_tokens[torch.from_numpy(values.astype(np.int32)).to(device)], of_token),
                )
            )
    tree = make_tree(tokens, [c.tokens for c in columns], [c.position for c in columns], shares.log().float())
    return Listed(shares=shares, columns=columns, tree=tree)


def split_prefixes(outcomes: DistinctPrefixes, options: DecodeOptions) -> tuple[Fold, ...]:
    """The folds, by distinct prefix; empty where there are too few to hold any out."""
    if len(outcomes.counts) < 2 * max(VALIDATION_EVERY, options.folds):
        return ()
    num_sequences = len(outcomes.of_sequence)
    groups = range(num_sequences) if len(outcomes.counts) == num_sequences else outcomes.of_sequence
    return make_folds(groups, outcomes.of_sequence, options.folds, options.seed)


def require_apart(fold: Fold) -> None:
    """Raise `InputError` where a prefix stands on two sides of a fold."""
    sides = torch.cat([fold.train.rows, fold.validation.rows, fold.test.rows])
    common = int((torch.bincount(sides) > 1).sum())
    if common:
        raise InputError(f"{common} prefixes are on two sides of a fold: a held-out score needs them apart")


def read_fold(rows: Tensor | StoredRows, listed: Listed, fold: Fold, number: int, options: DecodeOptions) -> FoldReading:
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
    give_back()
    reader = _best_reader(design, listed, fold, options.seed)
    give_back()  # what is done leaves free memory between what is kept, and the next, of other sizes, would lie above it
    share = reader.share
    own_shares = [
        choose_share(
            own_log_ratios(head, head.scores(design.validation_states), head.column.tokens[design.validation]),
            design.validation_weights,
        )
        for head in reader.heads
    ]
    scored, weights, num_draws = draw_test_rows(fold, number, options)
    ratios, own = _score(design, listed, reader, scored)
    mixed = mix(ratios, share)
    nats = float(weights @ mixed)
    return FoldReading(
        nats=nats,
        half_width_nats=_half_width(mixed, weights, nats, num_draws, listed, share, options.folds),
        token_nats={
            head.column.position: float(weights @ mix(of_head, own_share))
            for head, of_head, own_share in zip(reader.heads, own, own_shares, strict=True)
        },
        scored=scored.cpu().numpy(),
        ratios=mixed.cpu().numpy(),
        num_train=len(fold.train.rows),
        unseen_share=_unseen_share(listed.columns, fold),
        is_trained=reader.is_trained,
    )


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Heads with what validation rows chose for them together."""

    heads: list[Head]
    tempers: Tensor
    """(level,)"""
    share: float
    """Of p."""
    validation_ratios: Tensor
    """ln q(s|h) / p(s) (row,) of validation rows"""
    is_trained: bool


def _best_reader(design: Design, listed: Listed, fold: Fold, seed: int) -> _Reader:
    """The reader of heads in closed form or, if validation rows prefer it, of heads trained from there on."""
    closed = _fit_reader(design, listed, [fit_head(design, c, s) for c, s in zip(listed.columns, design.seen, strict=True)])
    weights = design.validation_weights.double()
    if float(weights @ (closed.validation_ratios + ENOUGH * listed.shares[design.validation].log())) >= 0:
        return closed

    def score(heads: list[Head]) -> float:
        scores = [head.scores(design.validation_states) for head in heads]
        ratios = log_ratios(listed.tree, scores, design.validation, closed.tempers)
        return float(weights @ mix(ratios, SHARES[-1]))

    heads = [calibrate(design, head) for head in train_heads(design, fold, closed.heads, seed, score)]
    trained = _fit_reader(design, listed, heads, is_trained=True)
    return trained if is_clear(trained.validation_ratios - closed.validation_ratios, weights) else closed


def _fit_reader(design: Design, listed: Listed, heads: list[Head], *, is_trained: bool = False) -> _Reader:
    scores = [head.scores(design.validation_states) for head in heads]
    tempers = fit_tempers(listed.tree, scores, design.validation, design.validation_weights)
    found = log_ratios(listed.tree, scores, design.validation, tempers)
    share = choose_share(found, design.validation_weights)
    return _Reader(heads=heads, tempers=tempers, share=share, validation_ratios=mix(found, share), is_trained=is_trained)


def _score(design: Design, listed: Listed, reader: _Reader, scored: Tensor) -> tuple[Tensor, list[Tensor]]:
    """ln q(s|h) / p(s) (scored,) before mixing, of the list and of each head alone."""
    found = torch.empty((1 + len(reader.heads), len(scored)), dtype=torch.float64, device=scored.device)
    at_once = min(ROWS_AT_ONCE, max(LEAST_ROWS, SCORES_AT_ONCE // sum(len(column.log_shares) for column in listed.columns)))
    for start in range(0, len(scored), at_once):  # in place: a tile's own results would lie between tiles that are freed
        here = slice(start, start + at_once)
        chosen = scored[here]
        states = design.states(chosen)
        scores = [head.scores(states) for head in reader.heads]
        for own, head, part in zip(found[1:], reader.heads, scores, strict=True):
            own[here] = own_log_ratios(head, part, head.column.tokens[chosen])
        found[0, here] = log_ratios(listed.tree, scores, chosen, reader.tempers)
    return found[0], list(found[1:])


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


def _unseen_share(columns: list[Column], fold: Fold) -> float:
    unseen = torch.zeros(len(fold.test.rows), dtype=torch.bool, device=fold.test.rows.device)
    for column in columns:
        is_seen = torch.zeros_like(column.log_shares, dtype=torch.bool)
        is_seen[column.tokens[fold.train.rows]] = True
        unseen |= ~is_seen[column.tokens[fold.test.rows]]
    return float((fold.test.probabilities * unseen).sum())
