"""Items of work handed out to workers. The store is the truth: an item that has not arrived there is not done, whatever is said.

Each worker works on one item at a time; where the rest of one goes on by itself, it gets its next meanwhile. What was handed to
a worker that is gone is handed out again; a cluster of our own without any worker for long is started anew.
"""

from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from time import monotonic, sleep
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ie_store.cluster.crew import Crew, Errand
from ie_store.errors import ClusterError, IeStoreError

if TYPE_CHECKING:
    from distributed import Future

POLL_SECONDS = 1.0
"""Between two looks at the workers while no errand ends."""
RESULT_SECONDS = 10.0
"""For what an errand met to arrive."""
MOST_AT_ONCE = 2
"""Items in a worker's hands: one that it works on, and one before it that only ends."""
LONELY_SECONDS = 30.0
"""Without a worker for so long, a cluster of our own is started anew."""
MOST_LOSSES = 20
"""Workers that an item may lose one after the other before it is believed to kill them."""

Item = TypeVar("Item")


class Work(Protocol[Item]):
    """What a stage knows of the work that it hands out."""

    @property
    def items(self) -> Sequence[Item]:
        """What is to be done, in the order in which it is begun."""
        ...

    def name(self, item: Item) -> str:
        """What an item is called in messages; no two are called the same."""
        ...

    def errand(self, item: Item, threads: int) -> Errand:
        """An item as a worker of so many threads is told it."""
        ...

    def is_done(self, item: Item) -> bool:
        """True where the store holds what an item comes to."""
        ...

    def finished(self, item: Item, seconds: float | None) -> None:
        """An item is done, after ``seconds``; None where nobody knows."""
        ...

    def waiting(self, num_workers: int) -> None:
        """Called between two looks at the workers; what it raises ends the run."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Sent(Generic[Item]):
    """An item in a worker's hands."""

    item: Item
    worker: str
    """Its address."""
    key: str
    """What the errand is called."""
    future: "Future[IeStoreError | None]"
    began: float | None
    """None for a worker's first, for which it opens what it needs: it tells nothing of what items take."""


class HandOut(Generic[Item]):
    """The items that are not done, and where they are."""

    def __init__(self, work: Work[Item], crew: Crew) -> None:
        self._work, self._crew = work, crew
        self._waiting = deque(work.items)
        self._sent: list[Sent[Item]] = []
        self._losses: Counter[str] = Counter()
        self._begun: set[str] = set()
        self._numbers = count()

    def run(self) -> None:
        """Until every item is done.

        Raises:
            IeStoreError: what an item met, as in a run without workers.
            ClusterError: the scheduler is gone, or an item loses every worker.
        """
        seen = monotonic()
        while self._waiting or self._sent:
            workers = self._crew.threads()
            self._work.waiting(len(workers))
            for sent in [sent for sent in reversed(self._sent) if sent.worker not in workers]:
                self._sent.remove(sent)
                self._lose(sent)
            for sent in [sent for sent in self._sent if sent.future.done()]:
                self._sent.remove(sent)
                self._settle(sent)
            for address, threads in workers.items():
                if self._waiting and self._is_free(address):
                    self._sent.append(self._send(self._waiting.popleft(), address, threads))
            seen = monotonic() if workers else self._wait_for_workers(seen)
            if self._sent:
                self._crew.wait(POLL_SECONDS)

    def _is_free(self, worker: str) -> bool:
        has = [sent for sent in self._sent if sent.worker == worker]
        return len(has) < MOST_AT_ONCE and all(self._crew.is_aside(sent.key) for sent in has)

    def _send(self, item: Item, worker: str, threads: int) -> Sent[Item]:
        began = monotonic() if worker in self._begun else None
        self._begun.add(worker)
        key = f"{self._work.name(item)}-{next(self._numbers)}"
        future = self._crew.send(self._work.errand(item, threads), worker, key)
        return Sent(item=item, worker=worker, key=key, future=future, began=began)

    def _settle(self, sent: Sent[Item]) -> None:
        """An errand ended, somehow."""
        if sent.future.status == "error":
            error = sent.future.exception(timeout=POLL_SECONDS)
            if error is not None and not _is_of_the_cluster(error):
                raise error
        if sent.future.status == "finished" and self._work.is_done(sent.item):
            self._work.finished(sent.item, None if sent.began is None else monotonic() - sent.began)
            return
        if sent.future.status == "finished":
            with suppress(TimeoutError, OSError):  # lost with its worker: then another meets the same
                if (met := sent.future.result(timeout=RESULT_SECONDS)) is not None:
                    raise met
            sleep(POLL_SECONDS)  # a network's file system may show it later
        self._lose(sent)

    def _lose(self, sent: Sent[Item]) -> None:
        """A worker is gone with an item; it may have finished it before."""
        self._crew.forget(sent.future)
        if self._work.is_done(sent.item):
            self._work.finished(sent.item, None)
            return
        name = self._work.name(sent.item)
        self._losses[name] += 1
        if self._losses[name] >= MOST_LOSSES:
            raise ClusterError(
                f"{MOST_LOSSES} workers ended while they worked on {name}; look whether the system kills them for their "
                "memory, and use fewer workers. What was finished is kept: the same command goes on"
            )
        self._waiting.appendleft(sent.item)

    def _wait_for_workers(self, seen: float) -> float:
        """Nobody is there since ``seen``; since when that counts now."""
        sleep(POLL_SECONDS / 4)
        if not self._crew.is_local or monotonic() - seen < LONELY_SECONDS:
            return seen
        self._crew.restart()
        return monotonic()


def _is_of_the_cluster(error: BaseException) -> bool:
    """True for what says that a worker or a connection is gone, and nothing of the item."""
    return type(error).__module__.partition(".")[0] == "distributed"
