"""Writing shards into a dataset that somebody holds: whole files, and the ledger entries that make them count.

A shard's file is encoded chunk by chunk in threads while earlier chunks go to the disk; then come its index, fsync,
rename, and the ledger entry.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import InputError
from ie_store.specs import Shard
from ie_store.store.dataset import ledger
from ie_store.store.dataset.handle import Dataset
from ie_store.store.files.checksum import crc32c
from ie_store.store.files.protocol import Buffer
from ie_store.store.format.arrays import fill_number, numpy_dtype
from ie_store.store.format.codec import encode_chunk
from ie_store.store.format.shard_index import CHUNK_ALIGNMENT, empty_index, index_bytes, pack_index

MAX_ENCODERS = 4
"""Threads that encode chunks; more do not help: the disk is slower."""
_Encoded = tuple[list[Buffer], int]
"""The buffers of an encoded chunk and what the ledger holds of it."""


class ShardWriter:
    """Writes shards of one dataset. Whoever uses it sees to it that the dataset is held, by this process or for it."""

    def __init__(self, dataset: Dataset, number_of_session: Callable[[], int]) -> None:
        """``number_of_session`` says which of the ledger's sessions writes; asked once there is something to write."""
        self.dataset, self.layout = dataset, dataset.layout
        self._number_of_session = number_of_session
        self._encoders = ThreadPoolExecutor(min(MAX_ENCODERS, os.cpu_count() or 1), thread_name_prefix="encode")

    def write_shard(self, shard: Shard, states: NDArray[Any]) -> int:
        """Write one shard whole and enter it in the ledger; bytes of its file. May run in a background thread.

        Args:
            shard: which rows.
            states: macro (stored layer, stored position, row, hidden), micro (stored layer, token, hidden); stored dtype
                (bfloat16 as uint16 bits). Rows past ``shard.stop`` are ignored and stored as fill.

        Raises:
            InputError: shape, dtype or memory order do not fit; nothing is touched.
            DiskSpaceError: the disk is full; the store resumes once there is room.
        """
        rows = self._require_states(shard, states)
        level, files = self.layout.level(shard.level), self.dataset.files
        index = empty_index(level.grid)
        checksums = np.zeros(index.shape[:-1], dtype="<u4")
        session = self._number_of_session()
        ledger.revoke(self.dataset, shard.level, shard.index)
        key = self.dataset.key(level.shard_key(shard.index))
        limit = states.nbytes + index_bytes(level.grid)
        written = files.write_atomic(key, self._pieces(shard, rows, index, checksums), expected_bytes=limit)
        ledger.commit(self.dataset, shard.level, shard.index, checksums, session)
        return written

    def _require_states(self, shard: Shard, states: NDArray[Any]) -> NDArray[Any]:
        cells = [len(chosen) for chosen in self.layout.level(shard.level).stored]
        dtype, hidden, num_rows = numpy_dtype(self.layout.stored_dtype), self.layout.hidden_size, shard.stop - shard.start
        fits = [(*cells, rows, hidden) for rows in (num_rows, shard.size)]
        if shard != self.layout.shard(shard.level, shard.index) or states.shape not in fits or states.dtype != dtype:
            raise InputError(
                f"{shard}: states have shape {states.shape} and dtype {states.dtype}; the layout asks for {fits[0]} and {dtype}"
            )
        if not states[(0,) * len(cells)].flags.c_contiguous:
            raise InputError(f"{shard}: rows do not lie one after another in memory; make them contiguous")
        return states[..., :num_rows, :]

    def _pieces(self, shard: Shard, states: NDArray[Any], index: NDArray[Any], checksums: NDArray[Any]) -> Iterator[Buffer]:
        """The file's buffers in order; fills ``index`` and ``checksums`` on the way."""
        offset = 0
        cells = self.layout.level(shard.level).stored_cells
        for cell, (pieces, checksum) in zip(cells, self._encoded_in_order(states, shard), strict=True):
            padding = -offset % CHUNK_ALIGNMENT
            if padding:
                yield bytes(padding)
            offset += padding
            length = sum(memoryview(piece).nbytes for piece in pieces)
            index[cell], checksums[cell] = (offset, length), checksum
            offset += length
            yield from pieces
        yield pack_index(index)

    def _encoded_in_order(self, states: NDArray[Any], shard: Shard) -> Iterator[_Encoded]:
        """Chunks encoded in threads, in order; only a few wait at any time, so that memory stays bounded."""
        cells, waiting = self.layout.level(shard.level).stored_cells, deque[Future[_Encoded]]()
        for place, cell in zip(np.ndindex(*states.shape[:-2]), cells, strict=True):
            waiting.append(self._encoders.submit(self._encoded, states[place], shard, cell))
            if len(waiting) >= 2 * MAX_ENCODERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _encoded(self, rows: NDArray[Any], shard: Shard, cell: tuple[int, ...]) -> _Encoded:
        """A chunk of ``shard.size`` rows, the missing ones filled, and its checksum."""
        if len(rows) < shard.size:
            padded = np.full((shard.size, rows.shape[1]), fill_number(self.layout.stored_dtype), dtype=rows.dtype)
            padded[: len(rows)] = rows
            rows = padded
        pieces = encode_chunk(rows)
        return pieces, crc32c([ledger.chunk_label(self.dataset.identity_digest, shard.level, shard.index, cell), *pieces])

    def close(self) -> None:
        """End its threads."""
        self._encoders.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
