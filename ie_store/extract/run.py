"""Stage one in its order: refuse what can be seen to be wrong, hold the dataset, and only then load torch and a model."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ie_store.extract.refuse import require_startable
from ie_store.options import ExtractSpec, OnProgress, ignore_progress

if TYPE_CHECKING:
    from ie_store.extract.forecast import Forecast
    from ie_store.extract.plan import ExtractPlan
    from ie_store.extract.report import ExtractReport


def ignore_plan(plan: "ExtractPlan", forecast: "Forecast") -> None:
    """The default of ``on_plan``: says nothing."""


def plan_extract(spec: ExtractSpec) -> "tuple[ExtractPlan, Forecast]":
    """What `extract` would do, and what that should cost at the speed of a few batches. Writes nothing.

    Raises:
        InputError: something in ``spec`` cannot be used as given.
        IdentityError: a dataset of the same name was made from something else.
    """
    require_startable(spec)
    from ie_store.extract.perform import plan_only

    return plan_only(spec)


def extract(
    spec: ExtractSpec,
    on_progress: OnProgress = ignore_progress,
    on_plan: "Callable[[ExtractPlan, Forecast], None]" = ignore_plan,
) -> "ExtractReport":
    """Run a model over a corpus and store the hidden states of every layer and position; resume where a run was cut off.

    With ``spec.repair`` every stored chunk is checked first, and what is damaged is computed again.

    Args:
        spec: what to do.
        on_progress: called with chunks checked, rows computed and bytes written.
        on_plan: called with what will be done, and what it should cost, before anything is.

    Raises:
        InputError: something in ``spec`` cannot be used as given; the store is untouched.
        IdentityError: a dataset of the same name was made from something else.
        BusyError: a living process writes the dataset, or is about to.
        DiskSpaceError: the forecast bytes do not fit, or the disk is full.
        NonFiniteError: a state that cannot be stored; finished shards stay and the dataset says why it is incomplete.
        StoreError: the audit finds states that cannot be right.
    """
    with require_startable(spec).held(spec) as held:
        from ie_store.extract.perform import perform

        return perform(spec, held, on_progress, on_plan)
