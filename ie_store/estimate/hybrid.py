"""A critic trained on one fold: normal scores, then the linear critic, then encoders on top of it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ie_store.estimate.bounds import PairStatistics, loss, side_probabilities, validation_nats
from ie_store.estimate.critic import Parameters, encoder_factors, make_encoders
from ie_store.estimate.linear import LinearCritic, fit_linear
from ie_store.estimate.marginals import fit_marginals, normal_scores
from ie_store.estimate.sample import batches
from ie_store.estimate.scores import Factors, Side, join_factors, pair_means
from ie_store.estimate.split import Fold
from ie_store.estimate.train import Trained, fit
from ie_store.options import EstimatorSpec, OnProgress, Progress
from ie_store.specs import EstimatorName

STRENGTHS = (1.0, 0.95, 0.8, 0.5)
"""Factors on all canonical correlations that validation rows choose from."""
AVERAGE_OVER = 0.9
"""Weight of the past in the running mean of E_q[exp T]."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Normal scores of all rows of a stack of problems, and the most that a score may say."""

    x: Tensor
    """(problem, row, x dimension)"""
    y: Tensor
    """(problem, row, y dimension)"""
    cap: float


def score_rows(x: Tensor, y: Tensor, train: Side, cap: float) -> Rows:
    """Fit the marginals on train rows of ``x`` and ``y`` (problem, row, dimension) and map all rows."""
    scores = [normal_scores(fit_marginals(values[:, train.rows], train.probabilities), values) for values in (x, y)]
    return Rows(x=scores[0], y=scores[1], cap=cap)


def statistics(factors: Factors, side: Side, cap: float) -> PairStatistics:
    """Joint scores and pair means of a separable critic on one side; ``factors`` are those of the side's rows."""
    row_means, column_means = pair_means(factors, side, cap)
    return PairStatistics(
        joint=factors.joint(cap),
        row_means=row_means,
        column_means=column_means,
        probabilities=side.probabilities.to(factors.row.dtype),
        is_table=side.is_table,
    )


def choose_linear(rows: Rows, fold: Fold, name: EstimatorName) -> LinearCritic:
    """The linear critic, over ridges and strengths, of the highest value on validation rows, per problem.

    The constant is moved so that the mean of exp(score) over validation pairs is 1.
    """
    side = fold.validation
    x, y = rows.x[:, side.rows], rows.y[:, side.rows]
    candidates = [fitted.weakened(strength) for fitted in fit_linear(rows.x, rows.y, fold.train, side) for strength in STRENGTHS]
    best, best_nats = candidates[0], torch.full((len(x),), -torch.inf, device=x.device)
    for candidate in candidates:
        centred = candidate.shifted(-statistics(candidate.factors(x, y), side, rows.cap).log_marginal)
        nats = validation_nats(name, statistics(centred.factors(x, y), side, rows.cap))
        best = centred.where(nats > best_nats, best)
        best_nats = torch.maximum(nats, best_nats)
    return best


@dataclass(frozen=True, kw_only=True)
class Critic:
    """A trained critic: the linear one, and encoders whose separable scores are added to it."""

    linear: LinearCritic
    encoders: Parameters | None = None

    def factors(self, rows: Rows, index: Tensor) -> Factors:
        """Separable scores of the rows ``index``."""
        x, y = rows.x[:, index], rows.y[:, index]
        linear = self.linear.factors(x, y)
        return linear if self.encoders is None else join_factors(linear, encoder_factors(self.encoders, x, y))

    def statistics(self, rows: Rows, side: Side) -> PairStatistics:
        """Joint scores and pair means on one side."""
        with torch.no_grad():
            return statistics(self.factors(rows, side.rows), side, rows.cap)


def train_encoders(
    rows: Rows, fold: Fold, linear: LinearCritic, spec: EstimatorSpec, seed: int, on_progress: OnProgress
) -> Trained:
    """Train encoders for the bound ``spec.name`` on top of ``linear``."""
    generator = torch.Generator().manual_seed(seed)
    device = rows.x.device
    initial = make_encoders(len(rows.x), rows.x.shape[-1], rows.y.shape[-1], generator)
    stream = batches(fold.train, spec.batch_size, generator)
    log_average: Tensor | None = None

    def batch_loss(parameters: Parameters, step: int) -> Tensor:
        nonlocal log_average
        side = next(stream)
        factors = Critic(linear=linear, encoders=parameters).factors(rows, side.rows)
        found, exponentials = _batch_statistics(factors, side, rows.cap)
        mean = found.log_marginal.detach().exp()
        kept = mean if log_average is None else AVERAGE_OVER * log_average.exp() + (1 - AVERAGE_OVER) * mean
        log_average = torch.zeros_like(mean) if spec.name == "nwj" else kept.log()
        return loss(spec.name, found, exponentials, log_average)

    return fit(
        {name: tensor.to(device) for name, tensor in initial.items()},
        batch_loss,
        lambda parameters: validation_nats(
            spec.name, Critic(linear=linear, encoders=parameters).statistics(rows, fold.validation)
        ),
        steps=spec.steps,
        learning_rate=spec.learning_rate,
        on_step=lambda step: on_progress(Progress(stage=spec.name, done=step, total=spec.steps, unit="steps")),
    )


def _batch_statistics(factors: Factors, side: Side, cap: float) -> tuple[PairStatistics, Tensor]:
    probabilities, others = side_probabilities(side, factors.row.dtype)
    exponentials = factors.exponentials(0, len(side.rows), cap)
    if not side.is_table:
        exponentials = exponentials * (1 - torch.eye(len(side.rows), dtype=exponentials.dtype, device=exponentials.device))
    found = PairStatistics(
        joint=factors.joint(cap),
        row_means=exponentials @ others,
        column_means=others @ exponentials,
        probabilities=probabilities,
        is_table=side.is_table,
    )
    return found, exponentials
