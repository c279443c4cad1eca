"""Items of a plan handed out to workers. The records on disk are the truth: an errand without one is not done, whatever it says.

Each worker has one item at a time. What was handed to a worker that is gone is handed out again; a cluster of our own without
any worker for long is started anew.
"""

from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from time import monotonic, sleep
from typing import TYPE_CHECKING

from ie_store.errors import ClusterError, IeStoreError
from ie_store.estimate.crew import Crew
from ie_store.estimate.errand import Errand
from ie_store.estimate.plan import EstimatePlan, WorkItem
from ie_store.estimate.watch import Groups, Watch
from ie_store.options import EstimateSpec, Progress
from ie_store.store.open import DatasetReader

if TYPE_CHECKING:
    from distributed import Future

POLL_SECONDS = 1.0
"""Between two looks at the workers while no errand ends."""
RESULT_SECONDS = 10.0
"""For what an errand met to arrive."""
LONELY_SECONDS = 30.0
"""Without a worker for so long, a cluster of our own is started anew."""
MOST_LOSSES = 20
"""Workers that an item may lose one after the other before it is believed to kill them."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """An item in a worker's hands."""

    item: WorkItem
    future: "Future[IeStoreError | None]"
    began: float | None
    """None for a worker's first, which opens the dataset too: it tells nothing of what items take."""


class HandOut:
    """The items that are not done, and where they are."""

    def __init__(
        self, plan: EstimatePlan, groups: Groups, reader: DatasetReader, spec: EstimateSpec, crew: Crew, watch: Watch
    ) -> None:
        self._spec, self._digest = spec, reader.dataset.identity_digest
        self._groups, self._crew, self._watch = groups, crew, watch
        self._waiting = deque(plan.items)
        self._sent: dict[str, Sent] = {}
        self._losses: Counter[WorkItem] = Counter()
        self._begun: set[str] = set()
        self._numbers = count()

    def run(self) -> None:
        """Until every item has its record.

        Raises:
            IeStoreError: what an item met, as in a run without workers.
            ClusterError: the scheduler is gone, or an item loses every worker.
            TimeIsUp: by the watch.
        """
        seen = monotonic()
        while self._waiting or self._sent:
            workers = self._crew.threads()
            self._watch.at_once = max(1, len(workers))
            for address in [address for address in self._sent if address not in workers]:
                self._lose(self._sent.pop(address))
            for address in [address for address, sent in self._sent.items() if sent.future.done()]:
                self._settle(self._sent.pop(address))
            for address, threads in workers.items():
                if self._waiting and address not in self._sent:
                    self._sent[address] = self._send(self._waiting.popleft(), address, threads)
            seen = monotonic() if workers else self._wait_for_workers(seen)
            self._watch.require_time()
            if self._sent:
                self._crew.wait(POLL_SECONDS)

    def _send(self, item: WorkItem, worker: str, threads: int) -> Sent:
        errand = Errand(
            store=self._spec.store,
            name=self._spec.name,
            activations_digest=self._digest,
            device=self._spec.device,
            item=item,
            threads=threads,
            seconds=self._watch.seconds_to_go(),
        )
        name = f"{item.estimator.name}-{item.key}-{next(self._numbers)}"
        began = monotonic() if worker in self._begun else None
        self._begun.add(worker)
        return Sent(item=item, future=self._crew.send(errand, worker, name), began=began)

    def _settle(self, sent: Sent) -> None:
        """An errand ended, somehow."""
        if sent.future.status == "error":
            error = sent.future.exception(timeout=POLL_SECONDS)
            if error is not None and not _is_of_the_cluster(error):
                raise error
        if sent.future.status == "finished" and self._groups[sent.item.estimator].find(sent.item.key):
            self._watch.finished(sent.item, None if sent.began is None else monotonic() - sent.began)
            return
        if sent.future.status == "finished":
            with suppress(TimeoutError, OSError):  # lost with its worker: then another meets the same
                if (met := sent.future.result(timeout=RESULT_SECONDS)) is not None:
                    raise met
            sleep(POLL_SECONDS)  # a network's file system may show the record later
        self._lose(sent)

    def _lose(self, sent: Sent) -> None:
        """A worker is gone with an item; it may have written the record before."""
        self._crew.forget(sent.future)
        if self._groups[sent.item.estimator].find(sent.item.key):
            self._watch.finished(sent.item, None)
            return
        self._losses[sent.item] += 1
        if self._losses[sent.item] >= MOST_LOSSES:
            raise ClusterError(
                f"{MOST_LOSSES} workers ended while they estimated {sent.item.estimator.name}, {sent.item.key}; look whether the "
                "system kills them for their memory, and use fewer workers. What was finished is kept: the same command goes on"
            )
        self._waiting.appendleft(sent.item)

    def _wait_for_workers(self, seen: float) -> float:
        """Nobody is there since ``seen``; since when that counts now."""
        self._watch.step(Progress(stage="waiting for workers", done=0, total=1, unit="workers"))
        sleep(POLL_SECONDS / 4)
        if not self._crew.is_local or monotonic() - seen < LONELY_SECONDS:
            return seen
        self._crew.restart()
        return monotonic()


def _is_of_the_cluster(error: BaseException) -> bool:
    """True for what says that a worker or a connection is gone, and nothing of the item."""
    return type(error).__module__.partition(".")[0] == "distributed"
