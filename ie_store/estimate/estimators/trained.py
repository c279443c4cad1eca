"""The trained bounds: a linear critic, encoders on top of it, and for ``mine`` a residual over pairs."""

from functools import partial

from torch import Tensor

from ie_store.estimate.critics.baseline import choose_baseline, normalised, score_rows, statistics
from ie_store.estimate.critics.bounds import SMILE_CLIP, Bound
from ie_store.estimate.critics.encoders import all_factors, train_encoders
from ie_store.estimate.critics.folds import Fold
from ie_store.estimate.critics.held_out import FoldValue, SplitStatistics, bound_value
from ie_store.estimate.critics.residual import keep_residual, residual_statistics, train_pairs
from ie_store.estimate.critics.train import Trained
from ie_store.estimator_options import TrainedOptions
from ie_store.estimators import EstimatorSpec
from ie_store.options import OnProgress

TRAIN_ROWS_SHOWN = 2048
"""Train rows that the train-test gap is read from."""


def run_fold(
    bound: Bound, x: Tensor, y: Tensor, fold: Fold, spec: EstimatorSpec[TrainedOptions], seed: int, on_progress: OnProgress
) -> tuple[FoldValue, list[Trained]]:
    """Train a critic for ``bound`` on one fold of ``x`` and ``y`` (problem, row, dimension) and read it on its test rows."""
    rows = score_rows(x, y, fold.train)
    base = choose_baseline(rows, fold, bound)
    encoders = train_encoders(rows, base, fold, bound, spec.options, seed, on_progress)
    factors = all_factors(rows, base, encoders)
    reference = fold.train.references()
    cap = base.cap(reference)
    sides = {"train": fold.train.head(TRAIN_ROWS_SHOWN), "validation": fold.validation, "test": fold.test}
    normal = {
        name: normalised(factors.at(side.rows), factors.at(reference.rows), reference, base.by_row)
        for name, side in sides.items()
    }
    trained = [encoders]
    refinable = ~base.by_row & (encoders.best_step > 0)
    if bound == "mine" and not fold.train.is_weighted and bool(refinable.any()):
        trained.append(train_pairs(rows, factors, cap, fold, spec.options, seed, on_progress))
    if len(trained) == 2 and bool(trained[-1].best_step.any()):
        pairs = keep_residual(trained[-1].parameters, refinable)
        found = {name: residual_statistics(pairs, rows, normal[name], side, cap) for name, side in sides.items()}
    else:
        found = {name: statistics(normal[name], side, cap) for name, side in sides.items()}
    clipped = None
    if bound == "smile":
        clipped = statistics(normal["test"], fold.test, cap.clamp_max(SMILE_CLIP))
    return bound_value(bound, SplitStatistics(**found, clipped_test=clipped), fold.test), trained


mine = partial(run_fold, "mine")
infonce = partial(run_fold, "infonce")
nwj = partial(run_fold, "nwj")
smile = partial(run_fold, "smile")
js = partial(run_fold, "js")
