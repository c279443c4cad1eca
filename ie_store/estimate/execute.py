"""One item of the plan, carried out: from the slabs of its batch to a record. It decides nothing and writes nothing."""

from dataclasses import dataclass
from typing import Any

from ie_store.estimate.batch_states import BatchStates, Slabs, examine, measure_batch
from ie_store.estimate.exact.prefix_index import PrefixIndex
from ie_store.estimate.plan import WorkItem
from ie_store.estimate.stored_rows import Room
from ie_store.options import OnProgress, ignore_progress
from ie_store.store.results.estimate_variables import estimate_pieces
from ie_store.store.results.records import Record


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What every item of a run is carried out with."""

    corpus: PrefixIndex
    room: Room
    """Where rows are kept, and which device computes."""
    session: dict[str, Any]
    """Provenance of the run."""


def execute(item: WorkItem, slabs: Slabs, workplace: Workplace, on_progress: OnProgress = ignore_progress) -> Record:
    """What an item comes to.

    Args:
        item: one estimator on one batch of problems.
        slabs: those of ``item.slabs``.
        workplace: corpus, room and provenance.
        on_progress: called with the steps of the work.
    """
    states = BatchStates(batch=item.batch, slabs=slabs, corpus=workplace.corpus, room=workplace.room)
    estimates, pieces = measure_batch(item.estimator, states, on_progress)
    examined = examine(estimates, states)
    flags = {f"{p.level}/{p.block}/{p.position}": estimate.flags for p, estimate in examined.items() if estimate.flags}
    return Record(item=item.key, session=workplace.session, flags=flags, pieces=(*pieces, *estimate_pieces(examined)))
