"""Encoders of x and y, trained on top of the linear critic: separable, so that every step sees all pairs of its batch."""

from dataclasses import replace
from math import inf

import torch
from torch import Tensor

from ie_store.estimate.critics.baseline import ROWS_TO_VALIDATE, Baseline, matrix_statistics, normalised, statistics
from ie_store.estimate.critics.bounds import Bound, loss, validation_nats
from ie_store.estimate.critics.folds import Fold
from ie_store.estimate.critics.minibatches import batches
from ie_store.estimate.critics.networks import Parameters, encoder_factors, make_encoders
from ie_store.estimate.critics.rows import Rows, Scorer, scores_at
from ie_store.estimate.critics.train import Average, BatchLoss, Trained, fit
from ie_store.estimator_options import TrainedOptions
from ie_store.options import OnProgress, Progress
from ie_store.prefixes import entropy_nats

ENOUGH = 0.995
"""Of the most that a table's critic can say, from which it is not trained. A choice: less than folds and seeds may swing by."""


def train_encoders(
    rows: Rows, base: Baseline, fold: Fold, bound: Bound, options: TrainedOptions, seed: int, on_progress: OnProgress
) -> Trained:
    """Train encoders for ``bound`` on top of ``base``; problems that are saturated keep the base as it is.

    So do tables that are all but wholly told apart: no critic can say more than the entropy of their validation rows. A batch
    of a problem that is normalised by row is trained with the contrastive loss, which is what its bound becomes.
    """
    generator = torch.Generator().manual_seed(seed)
    pairs = rows.pairs
    initial = make_encoders(pairs.num_problems, *pairs.sizes, generator)
    stream = batches(fold.train, options.batch_size, generator)
    average = Average()
    validation, reference = fold.looks(ROWS_TO_VALIDATE)
    plain = torch.full_like(base.temper, base.plain_cap)
    cap = base.cap(reference)

    def next_batch() -> tuple[BatchLoss, tuple[Tensor, ...]]:
        side = next(stream)

        def batch_loss(parameters: Parameters, x: Tensor, y: Tensor, probabilities: Tensor) -> Tensor:
            factors = with_encoders(base, parameters)(x, y)
            found, exponentials = matrix_statistics(factors.against(factors), replace(side, probabilities=probabilities), plain)
            mean = average.after(found.log_marginal.detach().exp())
            wanted = loss(bound, found, exponentials, torch.zeros_like(mean) if bound == "nwj" else mean.log())
            return torch.where(base.by_row, loss("infonce", found, exponentials, mean), wanted)

        return batch_loss, (*rows.at(side.rows), side.probabilities)

    def validate(parameters: Parameters) -> Tensor:
        scorer = normalised(with_encoders(base, parameters), rows, reference, base.by_row)
        found = statistics(scores_at(rows, scorer), validation, cap, bound)
        return torch.where(base.saturated, 0.0, validation_nats(bound, found))

    return fit(
        {name: tensor.to(pairs.device) for name, tensor in initial.items()},
        next_batch,
        validate,
        active=~base.saturated,
        enough_nats=ENOUGH * entropy_nats(validation.probabilities.cpu().numpy()) if validation.is_weighted else inf,
        steps=options.steps,
        learning_rate=options.learning_rate,
        on_step=lambda step: on_progress(Progress(stage=bound, done=step, total=options.steps, unit="steps")),
    )


def with_encoders(base: Baseline, parameters: Parameters) -> Scorer:
    """Separable scores, encoders included, not yet normalised."""
    return lambda x, y: base.factors(x, y).plus(encoder_factors(parameters, x, y))
