"""One slab read: from every shard one byte range, decoded straight into the caller's buffer.

A chunk that Blosc stored as it is goes from the file into the buffer without any copy in between. What is read is summed in the
thread that reads it, piece by piece, while it lies in that thread's cache, and compared with the ledger before it is decoded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import REPAIR, StoreError
from ie_store.levels import LevelLayout, Slab, place_of
from ie_store.specs import StoredDtype
from ie_store.store.dataset.buffers import acquire
from ie_store.store.dataset.handle import Dataset
from ie_store.store.dataset.ledger import chunk_label
from ie_store.store.dataset.shard_table import ABSENT
from ie_store.store.format.arrays import fill_number, numpy_dtype
from ie_store.store.format.codec import HEADER_BYTES, decode_chunk, is_verbatim


def decoded_dtype(stored_dtype: StoredDtype) -> np.dtype[Any]:
    """Dtype in which states are shown: bfloat16 as float32."""
    return np.dtype(np.float32) if stored_dtype == "bfloat16" else numpy_dtype(stored_dtype)


def decoded(states: NDArray[Any]) -> NDArray[Any]:
    """States as numbers: bfloat16 bits (uint16) become float32, the rest stays."""
    if states.dtype != np.uint16:
        return states
    bits = acquire(states.shape, np.dtype(np.uint32))
    np.left_shift(states, np.uint32(16), out=bits, dtype=np.uint32)
    return bits.view(np.float32)


@dataclass(frozen=True, kw_only=True)
class SlabRead:
    """One read: rows ``start`` and on of a slab, as many as ``out`` holds. Threads share it."""

    dataset: Dataset
    states: LevelLayout
    slab: Slab
    start: int
    shards: range
    """Those that hold the rows."""
    extents: list[tuple[int, int]]
    """Offset and length of the slab's chunk, one for each of ``shards``."""
    checksums: list[int] | None
    """The ledger's, one for each of ``shards``, where chunks are to be verified."""
    out: NDArray[Any]

    def read(self, waiting: Iterator[int]) -> None:
        """Read the shards that ``waiting`` still has to give, with one buffer for all encoded chunks. Missing ones are fill."""
        size, stop, chunk_bytes = self.states.rows_per_shard, self.start + len(self.out), self.states.chunk_bytes
        header, scratch = bytearray(HEADER_BYTES), np.empty(0, np.uint8)
        for shard in waiting:
            offset, length = self.extents[shard - self.shards.start]
            first, last = max(self.start, shard * size), min(stop, (shard + 1) * size)
            rows = self.out[first - self.start : last - self.start]
            if (offset, length) == ABSENT:
                rows[:] = fill_number(self.dataset.layout.stored_dtype)
            elif length == chunk_bytes + HEADER_BYTES and len(rows) == size:
                self._read_in_place(shard, offset, header, rows)
            else:
                scratch = scratch if len(scratch) >= length else np.empty(length, np.uint8)
                self._fill(shard, offset, scratch[:length].data)
                self._decode(shard, scratch[:length], rows, first - shard * size, size)

    def shard_rows(self, shard: int, into: NDArray[Any]) -> None:
        """Fill ``into`` (row, hidden), as long as a whole shard, with the slab's rows of one shard that is there."""
        offset, length = self.extents[shard - self.shards.start]
        if length == self.states.chunk_bytes + HEADER_BYTES:
            self._read_in_place(shard, offset, bytearray(HEADER_BYTES), into)
        else:
            encoded = np.empty(length, np.uint8)
            self._fill(shard, offset, encoded.data)
            decode_chunk(encoded, into, self._where(shard))

    def _key(self, shard: int) -> str:
        return self.dataset.key(self.states.shard_key(shard))

    def _where(self, shard: int) -> str:
        return f"{self.dataset.files.address(self._key(shard))} ({place_of(self.states.level, self.slab.cell, shard)})"

    def _read_in_place(self, shard: int, offset: int, header: bytearray, rows: NDArray[Any]) -> None:
        """Read a whole chunk whose length says that it was stored as it is, behind its header."""
        self._fill(shard, offset, memoryview(header), rows.reshape(-1).view(np.uint8).data)
        if not is_verbatim(header, rows.nbytes):  # compressed, and as long by chance
            encoded = np.frombuffer(bytes(header) + rows.tobytes(), np.uint8)
            decode_chunk(encoded, rows, self._where(shard))

    def _decode(self, shard: int, encoded: NDArray[np.uint8], rows: NDArray[Any], skip: int, size: int) -> None:
        """Decode a chunk of ``size`` rows; ``rows`` are those after the first ``skip``."""
        if len(rows) == size:
            decode_chunk(encoded, rows, self._where(shard))
            return
        whole = np.empty((size, rows.shape[1]), rows.dtype)
        decode_chunk(encoded, whole, self._where(shard))
        rows[:] = whole[skip : skip + len(rows)]

    def _fill(self, shard: int, offset: int, *buffers: memoryview) -> None:
        """Read a whole encoded chunk into ``buffers``, one after another; `StoreError` where it is not what was written."""
        if self.checksums is None:
            self.dataset.files.read_into(self._key(shard), offset, buffers)
            return
        label = chunk_label(self.dataset.identity_digest, self.states.level, shard, self.slab.cell)
        found = self.dataset.files.read_into(self._key(shard), offset, buffers, label)
        if found != self.checksums[shard - self.shards.start]:
            raise StoreError(f"{self._where(shard)} is damaged: its checksum is not the ledger's; {REPAIR}")
