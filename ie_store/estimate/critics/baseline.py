"""The linear critic made fit for use: weakened, tempered, centred, and normalised by row where validation rows say so.

The Gaussian log-density ratio is right for Gaussians and far too sure of itself on hidden states, where hundreds of
dimensions are correlated and nothing is Gaussian. So validation rows choose, per problem, how much of each correlation
and of the whole score to believe, and which of two constants makes the mean of exp(score) over the marginals 1:

plain       one constant for all pairs, scores capped at ln(sequences) + 2
by row      row i's own constant ln mean_r exp T_ir over reference columns r, taken from train rows, scores capped at
            ln(references), of a table at ln(train sequences): then exp(score) has mean 1 in every row, and no rare
            near-duplicate can decide the mean, nor the pair of a table's row that is not among the references with itself.
            Read on held-out rows this is the contrastive bound of van den Oord et al. 2018 with fresh negatives.
"""

from dataclasses import dataclass, replace
from itertools import product
from math import inf, log

import torch
from torch import Tensor

from ie_store.estimate.critics.bounds import SATURATED_SHARE, Bound, PairStatistics, validation_nats
from ie_store.estimate.critics.canonical_correlations import LinearCritic, fit_linear
from ie_store.estimate.critics.folds import Fold
from ie_store.estimate.critics.pair_means import Scores, joint_scores, log_means, over_rows, pair_means, scored
from ie_store.estimate.critics.pairing import Pairing
from ie_store.estimate.critics.rows import Rows, Scorer, scores_at
from ie_store.estimate.critics.scores import SeparableScores, SplitPart, capped_exp, soft_cap
from ie_store.estimate.exponentials import log_sum_exp_

STRENGTHS = (1.0, 0.95, 0.8)
"""Factors on all canonical correlations. Varied by ``benchmarks/critic_constants.py``."""
TEMPERS = (1.0, 0.5, 0.25, 0.12, 0.06, 0.03, 0.015)
"""Factor on the whole score. Varied by ``benchmarks/critic_constants.py``."""
CAP_MARGIN = 2.0
"""Plain scores are capped at ln(sequences) + this: a pair that says more decides a mean over a draw.
Varied by ``benchmarks/critic_constants.py``."""
TABLE_CAP_MARGIN = 6.0
"""The same of a table, whose exact sums bear more. Varied by ``benchmarks/critic_constants.py``."""
INFONCE_CAP = 40.0
"""InfoNCE is normalised by row itself; its cap only keeps exponentials in float32.
Varied by ``benchmarks/critic_constants.py``."""
ROWS_TO_CHOOSE = 512
"""Validation rows and reference rows that candidates are compared on. Varied by ``benchmarks/critic_constants.py``."""
ROWS_TO_VALIDATE = 1024
"""Validation rows, and train rows that normalise them, while training; in the end all of them do, up to `MOST_REFERENCES`
of `scores`. Varied by ``benchmarks/critic_constants.py``."""
ROWS_TO_CENTRE = 4096
"""Validation rows whose pairs are centred before training; the constant that a value needs comes from more in the end.
Varied by ``benchmarks/critic_constants.py``."""
BY_ROW_GAIN_NATS = 0.05
"""Normalising by row must be better than one constant by this, relative to 1 nat or to the value where it is more.
Varied by ``benchmarks/critic_constants.py``."""
TOLD_APART = 0.95
"""Of the entropy of those of a table's validation rows that training sees, where there are others: what scores normalised by row
show without training. A choice: tables of a text reach 0.98 to 1.1, since they tell some of the others apart as well."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The chosen linear scores, and how scores on top of them are to be read."""

    critic: LinearCritic
    temper: Tensor
    """(problem,) factor on all scores"""
    constant: Tensor
    """(problem, 1) nats on top"""
    by_row: Tensor
    """(problem,) bool: rows are normalised by reference columns."""
    saturated: Tensor
    """(problem,) bool: pairs are all but recognised already, of a table those that training sees, so that validation rows cannot
    tell what training adds."""
    plain_cap: float

    def factors(self, x: Tensor, y: Tensor) -> SeparableScores:
        """Scores of rows ``x`` and ``y`` (problem, row, dimension), tempered and centred by one constant."""
        return self.critic.factors(x, y).scaled(self.temper).shifted(self.constant)

    def cap(self, reference: SplitPart) -> Tensor:
        """The cap (problem,) when the rows of ``reference`` normalise a row."""
        by_row = torch.full_like(self.temper, row_cap(reference, self.plain_cap))
        return torch.where(self.by_row, by_row, self.plain_cap)

    def where(self, chosen: Tensor, other: "Baseline") -> "Baseline":
        """This one for the problems in ``chosen`` (problem,), ``other`` for the rest."""
        return Baseline(
            critic=self.critic.where(chosen, other.critic),
            temper=torch.where(chosen, self.temper, other.temper),
            constant=torch.where(chosen[:, None], self.constant, other.constant),
            by_row=torch.where(chosen, self.by_row, other.by_row),
            saturated=torch.where(chosen, self.saturated, other.saturated),
            plain_cap=self.plain_cap,
        )


def statistics(scores: Scores, side: SplitPart, cap: Tensor, bound: Bound) -> PairStatistics:
    """Joint scores and pair means of a separable critic on one side; InfoNCE has a mean for every row."""
    means = pair_means(scores, side, cap, all_meet=bound == "infonce")
    return PairStatistics(
        joint=means.joint,
        row_means=means.row_means,
        column_means=means.column_means,
        pairing=means.pairing,
        contrast_means=means.contrast_means,
    )


def matrix_statistics(scores: Tensor, side: SplitPart, cap: Tensor) -> tuple[PairStatistics, Tensor]:
    """`statistics` of a few rows from their scores (problem, row, row), and its exponentials, 0 for a draw's own pairs.

    Those of a draw from a table are as they are: `Pairing.counted` says how much of each own pair counts.
    """
    pairing = replace(Pairing.of(side.probabilities.to(scores.dtype), side.is_weighted, len(side.rows)), num_draws=side.num_draws)
    exponentials = capped_exp(scores, cap)
    counted = exponentials if side.is_weighted else exponentials * pairing.counted
    found = PairStatistics(
        joint=soft_cap(scores.diagonal(dim1=1, dim2=2), cap),
        row_means=counted @ pairing.others,
        column_means=pairing.by_row @ counted,
        pairing=pairing,
    )
    return found, counted if side.num_draws is None else exponentials


def normalised(scorer: Scorer, rows: Rows, side: SplitPart, by_row: Tensor) -> Scorer:
    """``scorer`` with every row's mean of exp(score) against the rows of ``side`` made 1, where ``by_row`` (problem,)."""
    if not bool(by_row.any()):
        return scorer
    reference = scored(scores_at(rows, scorer), side.rows, len(by_row))
    log_probabilities = side.probabilities.log().to(reference.row.dtype)

    def normalise(x: Tensor, y: Tensor) -> SeparableScores:
        factors = scorer(x, y)
        return factors.shifted(torch.where(by_row[:, None], -log_means(factors, reference, log_probabilities), 0.0))

    return normalise


def plain_cap(bound: Bound, fold: Fold) -> float:
    """Cap of scores that one constant centres."""
    if bound == "infonce":
        return INFONCE_CAP
    return log(fold.train.num_sequences) + (TABLE_CAP_MARGIN if fold.train.is_weighted else CAP_MARGIN)


def row_cap(reference: SplitPart, plain: float) -> float:
    """Cap of scores normalised by row; where all rows are among the references, none is needed beyond the ``plain`` one."""
    return plain if reference.is_whole else log(reference.num_sequences)


def choose_baseline(rows: Rows, fold: Fold, bound: Bound) -> Baseline:
    """The base of the highest validation value of the `Bound`, over ridges, strengths, tempers and constants.

    A few rows choose among candidates of one kind of constant; all validation rows choose the kind.
    """
    device = rows.pairs.device
    cap = torch.full((rows.pairs.num_problems,), plain_cap(bound, fold), device=device)
    plain, by_row = _best_candidates(rows, fold, bound, cap)
    bases = []
    for best, normalise in ((plain, False), (by_row, True)):
        kind, zero = torch.full_like(cap, normalise, dtype=torch.bool), torch.zeros_like(cap)
        base = Baseline(
            critic=best.chosen,
            temper=best.temper,
            constant=zero[:, None],
            by_row=kind,
            saturated=torch.zeros_like(kind),
            plain_cap=float(cap[0]),
        )
        bases.append(replace(base, constant=_constant(scores_at(rows, base.factors), fold.validation.head(ROWS_TO_CENTRE), cap)))
    if bound == "infonce":
        return bases[0]
    plain_nats, by_row_nats = (baseline_nats(rows, base, fold, bound) for base in bases)
    is_by_row = by_row_nats > plain_nats + BY_ROW_GAIN_NATS * plain_nats.clamp_min(1)
    if fold.train.is_weighted:
        saturated = is_by_row & (by_row_nats > _told_apart_nats(fold))
    else:  # beyond it pairs are all but recognised, and what one constant gives is chance
        saturated = by_row_nats > SATURATED_SHARE * log(fold.looks(ROWS_TO_VALIDATE)[1].num_sequences)
        is_by_row |= saturated
    return replace(bases[1].where(is_by_row, bases[0]), saturated=saturated)


def _told_apart_nats(fold: Fold) -> float:
    """What a table's critic shows on validation rows where it lacks little more than rows that training never sees.

    Infinite where there are none: what is missing then, training may add.
    """
    validation = fold.looks(ROWS_TO_VALIDATE)[0]
    seen = torch.isin(validation.rows, fold.train.rows)
    if bool(seen.all()):
        return inf
    return TOLD_APART * float(-torch.xlogy(validation.probabilities, validation.probabilities)[seen].sum())


def baseline_nats(rows: Rows, base: Baseline, fold: Fold, bound: Bound) -> Tensor:
    """Value (problem,) of the `Bound` on validation rows."""
    side, reference = fold.looks(ROWS_TO_VALIDATE)
    scorer = normalised(base.factors, rows, reference, base.by_row)
    return validation_nats(bound, statistics(scores_at(rows, scorer), side, base.cap(reference), bound))


def _best_candidates(rows: Rows, fold: Fold, bound: Bound, cap: Tensor) -> "tuple[_Best, _Best]":
    """The best candidates of either kind of constant: plain, and by row."""
    validation, reference = fold.looks(ROWS_TO_CHOOSE)
    log_p, log_r = (side.probabilities.log().to(cap.dtype) for side in (validation, reference))
    looks = [rows.at(side.rows) for side in (validation, reference)]
    by_row_cap = torch.full_like(cap, row_cap(reference, float(cap[0])))
    plain, by_row = _Best(), _Best()
    for fitted, strength in product(fit_linear(rows, fold.train, fold.validation), STRENGTHS):
        critic = fitted.weakened(strength)
        seen, references = (critic.factors(x, y) for x, y in looks)
        among, against = (seen.against(other) for other in (seen, references))
        for temper in TEMPERS:
            scores = among * temper
            constant = log_sum_exp_((scores + log_p + log_p[:, None]).flatten(1), 1)
            plain.offer(_matrix_nats(bound, scores - constant[:, None, None], validation, cap), critic, temper)
            even = scores - log_sum_exp_(against * temper + log_r, 2)[..., None]
            by_row.offer(_matrix_nats(bound, even, validation, by_row_cap), critic, temper)
    return plain, by_row


def _matrix_nats(bound: Bound, scores: Tensor, side: SplitPart, cap: Tensor) -> Tensor:
    """Value (problem,) of the `Bound`, its scores centred within the cap first."""
    found, _ = matrix_statistics(scores, side, cap)
    if bound == "nwj":
        found, _ = matrix_statistics(scores - found.log_marginal[:, None, None], side, cap)
    return validation_nats(bound, found)


def linear_nats(rows: Rows, fold: Fold) -> tuple[Tensor, Tensor, Tensor]:
    """The Gaussian value by canonical correlations, on test and on train rows (problem,), and its test scores (problem, row).

    Ridge and strength are those of the highest mean score on validation rows; nothing is capped or normalised. The train
    value is that of as many rows as there are references.
    """
    best = _Best()
    for fitted, strength in product(fit_linear(rows, fold.train, fold.validation), STRENGTHS):
        critic = fitted.weakened(strength)
        scores = joint_scores(scores_at(rows, critic.factors), fold.validation.references())
        best.offer(scores @ fold.validation.references().probabilities.to(scores.dtype), critic, 1.0)
    test, train = fold.test, fold.train.references()
    of_test, of_train = (joint_scores(scores_at(rows, best.chosen.factors), side) for side in (test, train))
    return of_test @ test.probabilities.to(of_test.dtype), of_train @ train.probabilities.to(of_train.dtype), of_test


def _constant(scores: Scores, side: SplitPart, cap: Tensor) -> Tensor:
    """Constant (problem, 1) that makes the mean of exp(capped score) over a side's pairs 1.

    First by all pairs, uncapped and with the joint ones among them, so that the scores that matter lie below the cap.
    """
    factors = scored(scores, side.rows, len(cap))
    probabilities = side.probabilities.log().to(factors.row.dtype)
    logs = over_rows(lambda here: log_means(factors.part(here), factors, probabilities), len(side.rows), len(cap), cap.device)
    first = -torch.logsumexp(torch.cat(list(logs), 1) + probabilities, 1, keepdim=True)
    return first - statistics(lambda index: scores(index).shifted(first), side, cap, "mine").log_marginal[:, None]


class _Best:
    """The best candidate so far, per problem."""

    def __init__(self) -> None:
        self.nats: Tensor | None = None

    def offer(self, nats: Tensor, critic: LinearCritic, temper: float) -> None:
        """Take ``critic`` and ``temper`` for the problems where ``nats`` (problem,) is more."""
        tempers = torch.full_like(nats, temper)
        if self.nats is None:
            self.nats, self.chosen, self.temper = nats, critic, tempers
            return
        better = nats > self.nats
        self.chosen = critic.where(better, self.chosen)
        self.temper = torch.where(better, tempers, self.temper)
        self.nats = torch.where(better, nats, self.nats)
