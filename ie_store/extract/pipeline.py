"""Compute and write at the same time: two buffers, one filled by the model while the other goes to the disk."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType

from torch import Tensor

from ie_store.errors import IeStoreError
from ie_store.extract.forward.states import HostBuffer, as_stored
from ie_store.extract.work import WorkItem
from ie_store.specs import Shard
from ie_store.store.dataset.shard_writer import ShardWriter


class ShardPipeline:
    """Hands out buffers and writes what they hold in a background thread, in order. Memory: the buffers it is given."""

    def __init__(self, writer: ShardWriter, buffers: list[HostBuffer]) -> None:
        self.num_bytes = 0
        """Encoded bytes written so far."""
        self._writer = writer
        self._free = deque(buffers)
        self._writing: deque[tuple[HostBuffer, Future[None]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="write")

    def free_buffer(self) -> HostBuffer:
        """A buffer to fill; waits for the oldest write where none is free, and raises what that write raised."""
        if not self._free:
            buffer, writing = self._writing.popleft()
            writing.result()
            self._free.append(buffer)
        return self._free.popleft()

    def write(self, item: WorkItem, buffer: HostBuffer, states: Tensor) -> None:
        """Write the missing shards of an item from its states (stored layer, stored position, row, hidden) in ``buffer``."""
        self._writing.append((buffer, self._thread.submit(self._write, item, states)))

    def _write(self, item: WorkItem, states: Tensor) -> None:
        array = as_stored(states)
        for shard in item.shards:
            rows = array[:, :, shard.start - item.start : shard.stop - item.start]
            with _naming(shard):
                self.num_bytes += self._writer.write_shard(shard, rows if shard.level == "macro" else rows[:, 0])

    def finish(self) -> None:
        """Wait until everything is written, and raise what a write raised."""
        while self._writing:
            self._writing.popleft()[1].result()

    def __enter__(self) -> "ShardPipeline":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self.finish()
        finally:
            wait([writing for _, writing in self._writing])
            self._thread.shutdown()


class _naming:
    """Errors raised inside say which shard was being written."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        where = f"{self._shard} (rows {self._shard.start} to {self._shard.stop - 1})"
        if isinstance(error, IeStoreError):
            raise type(error)(f"while writing {where}: {error}") from error
        if error is not None:
            error.add_note(f"while writing {where}")
