"""The trained bounds: a linear critic, encoders on top of it, and for ``mine`` a residual over pairs."""

from functools import partial

from ie_store.estimate.critics.baseline import choose_baseline, normalised, statistics
from ie_store.estimate.critics.bounds import SMILE_CLIP, Bound
from ie_store.estimate.critics.encoders import train_encoders, with_encoders
from ie_store.estimate.critics.folds import Fold
from ie_store.estimate.critics.held_out import FoldValue, SplitStatistics, bound_value
from ie_store.estimate.critics.residual import keep_residual, residual_statistics, train_pairs
from ie_store.estimate.critics.rows import PairedSlabs, score_rows, scores_at
from ie_store.estimate.critics.train import Trained
from ie_store.estimator_options import TrainedOptions
from ie_store.estimators import EstimatorSpec
from ie_store.options import OnProgress

TRAIN_ROWS_SHOWN = 2048
"""Train rows that the train-test gap is read from."""


def run_fold(
    bound: Bound, pairs: PairedSlabs, fold: Fold, spec: EstimatorSpec[TrainedOptions], seed: int, on_progress: OnProgress
) -> tuple[FoldValue, list[Trained]]:
    """Train a critic for ``bound`` on one fold of some problems and read it on its test rows.

    All test rows have their joint score, and as many as there are references meet them; so do validation rows, which give a
    constant.
    """
    rows = score_rows(pairs, fold.train)
    base = choose_baseline(rows, fold, bound)
    encoders = train_encoders(rows, base, fold, bound, spec.options, seed, on_progress)
    any_trained = bool(encoders.best_step.any())
    scorer = with_encoders(base, encoders.parameters) if any_trained else base.factors
    reference = fold.train.references()
    cap = base.cap(reference)
    sides = {"train": fold.train.head(TRAIN_ROWS_SHOWN), "validation": fold.validation.references(), "test": fold.test}
    normal = normalised(scorer, rows, reference, base.by_row)
    scores = scores_at(rows, normal)
    trained = [encoders]
    refinable = ~base.by_row & (encoders.best_step > 0)
    if bound == "mine" and not fold.train.is_weighted and bool(refinable.any()):
        trained.append(train_pairs(rows, scorer, cap, refinable, fold, spec.options, seed, on_progress))
    if len(trained) == 2 and bool(trained[-1].best_step.any()):
        network = keep_residual(trained[-1].parameters, refinable)
        found = {name: residual_statistics(network, rows, normal, side, cap) for name, side in sides.items()}
    else:
        found = {name: statistics(scores, side, cap, bound) for name, side in sides.items()}
    clipped = None
    if bound == "smile":
        clipped = statistics(scores, fold.test, cap.clamp_max(SMILE_CLIP), bound)
    return bound_value(bound, SplitStatistics(**found, clipped_test=clipped), fold.test), trained


mine = partial(run_fold, "mine")
infonce = partial(run_fold, "infonce")
nwj = partial(run_fold, "nwj")
smile = partial(run_fold, "smile")
js = partial(run_fold, "js")
