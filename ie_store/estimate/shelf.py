"""Slabs that were read, kept while somebody will want them: each is read once, and the next ones while others are worked on."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from types import TracebackType

from ie_store.estimate.plan import WorkItem
from ie_store.estimate.read import SlabStates, read_states
from ie_store.estimate.stored_rows import Room
from ie_store.specs import Slab
from ie_store.store.dataset.reader import DatasetReader


class Shelf:
    """The slabs of one dataset. One is read at a time, in a thread of its own, in the order in which they are asked for."""

    def __init__(self, reader: DatasetReader, room: Room) -> None:
        """Of ``reader``, with their rows in ``room``."""
        self.reader, self.room = reader, room
        self._known: dict[Slab, Future[SlabStates]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="slabs")
        self.waited_seconds = 0.0
        """For slabs that were not there yet when they were needed."""

    def __enter__(self) -> "Shelf":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._known.clear()
        self._pool.shutdown(cancel_futures=True)

    def ask(self, slabs: Iterable[Slab]) -> None:
        """Let slabs be read that are not there, and go on."""
        for slab in slabs:
            if slab not in self._known:
                self._known[slab] = self._pool.submit(read_states, self.reader, slab, self.room)

    def fetch(self, slabs: Sequence[Slab]) -> dict[Slab, SlabStates]:
        """Slabs, read by now.

        Raises:
            StoreError, NonFiniteError, DiskSpaceError: as `read_states`.
        """
        self.ask(slabs)
        began = monotonic()
        found = {slab: self._known[slab].result() for slab in slabs}
        self.waited_seconds += monotonic() - began
        return found

    def keep(self, slabs: Iterable[Slab]) -> None:
        """Let go of all others."""
        wanted = set(slabs)
        self._known = {slab: states for slab, states in self._known.items() if slab in wanted}

    def stream(self, items: Sequence[WorkItem]) -> Iterator[tuple[WorkItem, dict[Slab, SlabStates]]]:
        """Every item with its slabs, which are there until the next is asked for; the next one's are read meanwhile.

        Waiting for the first item's slabs, which nothing could hide, is not counted.
        """
        last = {slab: number for number, item in enumerate(items) for slab in item.slabs}
        for number, item in enumerate(items):
            self.ask(item.slabs)
            self.ask(items[number + 1].slabs if number + 1 < len(items) else ())
            slabs = self.fetch(item.slabs)
            self.waited_seconds *= number > 0
            yield item, slabs
            slabs.clear()  # whoever asks for the next still holds these
            self.keep(slab for slab, end in last.items() if end > number)
