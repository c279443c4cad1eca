"""One item of work in a process of a Dask cluster: it opens the dataset, reads its slabs, and writes the record itself.

What is sent is an address and specs; what comes back is an error at most. A process works on one errand at a time, with as many
threads as Dask counts it for, and keeps the dataset and the last slabs open for the next one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Lock
from time import monotonic
from typing import Any

import dask
import torch

from ie_store.errors import IeStoreError, StoreError
from ie_store.estimate.device import choose_device, describe_session
from ie_store.estimate.execute import Workplace, execute
from ie_store.estimate.memory import share_one_pool
from ie_store.estimate.memory_budget import MemoryBudget, default_bytes
from ie_store.estimate.plan import WorkItem
from ie_store.estimate.read import SlabStates, open_complete, read_prefixes
from ie_store.estimate.shelf import Shelf
from ie_store.estimate.stored_rows import Room
from ie_store.estimate.watch import TimeIsUp
from ie_store.estimators import EstimatorSpec
from ie_store.options import Progress
from ie_store.specs import Slab
from ie_store.store.dataset.reader import DatasetReader
from ie_store.store.results.writer import ResultGroup, open_results

_ONE_AT_A_TIME = Lock()


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What a worker is told."""

    store: str
    name: str
    """MODEL/CORPUS."""
    activations_digest: str
    """Of the identity of the dataset that was planned for."""
    device: str
    budget: MemoryBudget
    is_default: bool
    """The budget is the default one: its bytes are to be those of the worker's own machine."""
    item: WorkItem
    threads: int
    seconds: float | None
    """Time limit; None for none."""

    def run(self, step_aside: Callable[[], None]) -> IeStoreError | None:
        """Carry out the item, unless it has a record already; it never steps aside.

        Returns:
            None, or what stood against it, as a run without workers raises it; raised here, Dask would print a traceback of it.
        """
        try:
            _carry_out(self)
        except IeStoreError as error:
            return error
        except TimeIsUp:  # the run that sent it knows
            return None
        return None


class Desk:
    """What a worker keeps between errands on one dataset."""

    def __init__(self, reader: DatasetReader, room: Room) -> None:
        share_one_pool()
        self.reader, self.shelf = reader, Shelf(reader, room)
        self.corpus = read_prefixes(reader)
        self._groups: dict[EstimatorSpec[Any], ResultGroup] = {}

    def slabs(self, item: WorkItem) -> dict[Slab, SlabStates]:
        """Those of an item; what the one before had too is not read again, and the others are let go."""
        self.shelf.keep(item.slabs)
        return self.shelf.fetch(item.slabs)

    def group(self, estimator: EstimatorSpec[Any]) -> ResultGroup:
        """Where the records of an estimator go."""
        if estimator not in self._groups:
            self._groups[estimator] = open_results(self.reader.dataset, estimator.identity)
        return self._groups[estimator]


def _carry_out(errand: Errand) -> None:
    with _ONE_AT_A_TIME, dask.config.set(scheduler="synchronous"):  # else a slab would be read by another task, elsewhere
        started = monotonic()
        torch.set_num_threads(errand.threads)
        device = choose_device(errand.device)
        budget = replace(errand.budget, num_bytes=default_bytes(device)) if errand.is_default else errand.budget
        desk = _desk(errand.store, errand.name, errand.activations_digest, device, budget)
        group = desk.group(errand.item.estimator)
        if not group.find(errand.item.key):
            workplace = Workplace(corpus=desk.corpus, room=desk.shelf.room, session=describe_session(device))

            def require_time(progress: Progress) -> None:
                if errand.seconds is not None and monotonic() - started > errand.seconds:
                    raise TimeIsUp

            group.commit(execute(errand.item, desk.slabs(errand.item), workplace, require_time))


@lru_cache(maxsize=1)
def _desk(store: str, name: str, activations_digest: str, device: torch.device, budget: MemoryBudget) -> Desk:
    reader = open_complete(store, name)
    if reader.dataset.identity_digest != activations_digest:
        raise StoreError(f"{reader.address} was replaced meanwhile; look at it with 'ie-store info', then estimate again")
    return Desk(reader, budget.room(device))
