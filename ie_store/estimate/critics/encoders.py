"""Encoders of x and y, trained on top of the linear critic: separable, so that every step sees all pairs of its batch."""

import torch
from torch import Tensor

from ie_store.estimate.critics.baseline import ROWS_TO_VALIDATE, Baseline, Rows, matrix_statistics, normalised, statistics
from ie_store.estimate.critics.bounds import Bound, loss, validation_nats
from ie_store.estimate.critics.folds import Fold
from ie_store.estimate.critics.minibatches import batches
from ie_store.estimate.critics.networks import Parameters, encoder_factors, make_encoders
from ie_store.estimate.critics.scores import SeparableScores
from ie_store.estimate.critics.train import Average, Trained, fit
from ie_store.estimator_options import TrainedOptions
from ie_store.options import OnProgress, Progress


def train_encoders(
    rows: Rows, base: Baseline, fold: Fold, bound: Bound, options: TrainedOptions, seed: int, on_progress: OnProgress
) -> Trained:
    """Train encoders for ``bound`` on top of ``base``; problems that are saturated keep the base as it is.

    A batch of a problem that is normalised by row is trained with the contrastive loss, which is what its bound becomes.
    """
    generator = torch.Generator().manual_seed(seed)
    device = rows.x.device
    initial = make_encoders(len(rows.x), rows.x.shape[-1], rows.y.shape[-1], generator)
    stream = batches(fold.train, options.batch_size, generator)
    average = Average()
    validation, reference = fold.validation.head(ROWS_TO_VALIDATE), fold.train.head(ROWS_TO_VALIDATE)
    plain = torch.full_like(base.factors.row[:, 0], base.plain_cap)
    cap = base.cap(reference)

    def batch_loss(parameters: Parameters, step: int) -> Tensor:
        side = next(stream)
        factors = _total(rows, base, parameters, side.rows)
        found, exponentials = matrix_statistics(factors.pairwise(0, len(side.rows), factors), side, plain)
        mean = average.after(found.log_marginal.detach().exp())
        wanted = loss(bound, found, exponentials, torch.zeros_like(mean) if bound == "nwj" else mean.log())
        return torch.where(base.by_row, loss("infonce", found, exponentials, mean), wanted)

    def validate(parameters: Parameters) -> Tensor:
        with torch.no_grad():
            factors = _total(rows, base, parameters, validation.rows)
            if bool(base.by_row.any()):
                factors = normalised(factors, _total(rows, base, parameters, reference.rows), reference, base.by_row)
            return torch.where(base.saturated, 0.0, validation_nats(bound, statistics(factors, validation, cap)))

    return fit(
        {name: tensor.to(device) for name, tensor in initial.items()},
        batch_loss,
        validate,
        steps=0 if bool(base.saturated.all()) else options.steps,
        learning_rate=options.learning_rate,
        on_step=lambda step: on_progress(Progress(stage=bound, done=step, total=options.steps, unit="steps")),
    )


def all_factors(rows: Rows, base: Baseline, trained: Trained) -> SeparableScores:
    """Separable scores of all rows, encoders included, not yet normalised."""
    with torch.no_grad():
        return base.factors.plus(encoder_factors(trained.parameters, rows.x, rows.y))


def _total(rows: Rows, base: Baseline, parameters: Parameters, index: Tensor) -> SeparableScores:
    return base.factors.at(index).plus(encoder_factors(parameters, rows.x[:, index], rows.y[:, index]))
