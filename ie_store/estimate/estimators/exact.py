"""The exact value: entropies counted from the listed rows."""

from ie_store.errors import InputError
from ie_store.estimate.array_input import GivenPair
from ie_store.estimate.batch_states import BatchStates, Measured, known_value
from ie_store.estimator_options import ExactOptions
from ie_store.estimators import EstimatorSpec
from ie_store.options import OnProgress
from ie_store.specs import MIEstimate, Problem


def measure(spec: EstimatorSpec[ExactOptions], states: BatchStates, problems: list[Problem], on_progress: OnProgress) -> Measured:
    """The listed ceilings of the problems."""
    return Measured(estimates=[known_value(spec.name, states.corpus, problem) for problem in problems])


def of_arrays(spec: EstimatorSpec[ExactOptions], pair: GivenPair, on_progress: OnProgress) -> MIEstimate:
    """The plug-in value of rows that repeat.

    Raises:
        InputError: they do not.
    """
    classes = pair.classes
    if classes.exact_nats is None:
        raise InputError(
            f"exact needs rows that repeat: {classes.x.max() + 1} rows of x and {classes.y.max() + 1} of y are distinct "
            f"among {len(classes.x)}; use a trained estimator such as mine"
        )
    return MIEstimate.exactly(spec.name, classes.exact_nats)
