"""The Gaussian value: mutual information of a Gaussian with the canonical correlations of x and y."""

from ie_store.estimate.critics.baseline import linear_nats
from ie_store.estimate.critics.folds import Fold
from ie_store.estimate.critics.held_out import FoldValue, linear_value
from ie_store.estimate.critics.rows import PairedSlabs, score_rows
from ie_store.estimate.critics.train import Trained
from ie_store.estimate.memory import give_back
from ie_store.estimator_options import CrossFitOptions
from ie_store.estimators import EstimatorSpec
from ie_store.options import OnProgress


def run_fold(
    pairs: PairedSlabs, fold: Fold, spec: EstimatorSpec[CrossFitOptions], seed: int, on_progress: OnProgress
) -> tuple[FoldValue, list[Trained]]:
    """Fit the correlations on one fold's train rows of some problems, score its test rows."""
    rows = score_rows(pairs, fold.train)
    give_back()  # what the marginals were found with lies free between what is kept: tiles of other sizes would not fit there
    return linear_value(*linear_nats(rows, fold), fold.test), []
