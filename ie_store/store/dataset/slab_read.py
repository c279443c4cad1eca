"""One slab read: from every shard one byte range, decoded straight into the caller's buffer.

A chunk that Blosc stored as it is goes from the file into the buffer without any copy in between. What is read is summed in the
thread that reads it, piece by piece, while it lies in that thread's cache, and compared with the ledger before it is decoded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import REPAIR, StoreError
from ie_store.levels import LevelLayout, Slab, place_of
from ie_store.specs import StoredDtype
from ie_store.store.dataset.buffers import acquire
from ie_store.store.dataset.handle import Dataset
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


class Chunk(NamedTuple):
    """A chunk to read, and where its rows go."""

    shard: int
    key: str
    """Of the shard's file."""
    offset: int
    length: int
    """Of the encoded bytes."""
    place: int
    """Row of ``SlabRead.out`` for the chunk's first one; below 0 where the first rows are not wanted."""
    label: bytes | None
    """What is summed before the encoded bytes; None where they are not to be verified."""
    checksum: int
    """The ledger's."""


@dataclass(frozen=True, kw_only=True)
class SlabRead:
    """One read of chunks of a slab. Threads share it.

    A warm chunk takes some 400 us, most of it spent with caches full of states, where each step of Python costs twice: what can
    be made for all chunks beforehand is (a verified read of 128 chunks takes 0.93x the time).
    """

    dataset: Dataset
    states: LevelLayout
    slab: Slab
    out: NDArray[Any]
    """C-contiguous (row, hidden) in the stored dtype, bfloat16 as its bits."""

    def read(self, waiting: Iterator[Chunk]) -> None:
        """Read the chunks that ``waiting`` still has to give, with one buffer for all encoded ones. Missing ones are fill."""
        size, row_bytes, chunk_bytes = self.states.rows_per_shard, self.states.row_bytes, self.states.chunk_bytes
        num_rows, everything = len(self.out), self.out.reshape(-1).view(np.uint8).data
        header, scratch = memoryview(bytearray(HEADER_BYTES)), np.empty(0, np.uint8)
        for chunk in waiting:
            place, length = chunk.place, chunk.length
            if length == chunk_bytes + HEADER_BYTES and 0 <= place <= num_rows - size:  # stored as it is, says its length
                rows = everything[place * row_bytes : place * row_bytes + chunk_bytes]
                self._fill(chunk, (header, rows))
                if is_verbatim(header, chunk_bytes):
                    continue
                encoded = np.frombuffer(bytes(header) + bytes(rows), np.uint8)  # compressed, and as long by chance
            elif (chunk.offset, length) == ABSENT:
                self.out[max(0, place) : place + size] = fill_number(self.dataset.layout.stored_dtype)
                continue
            else:
                scratch = scratch if len(scratch) >= length else np.empty(length, np.uint8)
                encoded = scratch[:length]
                self._fill(chunk, (encoded.data,))
            self._decode(chunk, encoded)

    def _decode(self, chunk: Chunk, encoded: NDArray[np.uint8]) -> None:
        """Decode a chunk to its place; what lies outside ``out`` is dropped."""
        size = self.states.rows_per_shard
        rows = self.out[max(0, chunk.place) : chunk.place + size]
        if len(rows) == size:
            decode_chunk(encoded, rows, self._where(chunk))
            return
        whole = np.empty((size, rows.shape[1]), rows.dtype)
        decode_chunk(encoded, whole, self._where(chunk))
        skip = max(0, -chunk.place)
        rows[:] = whole[skip : skip + len(rows)]

    def _where(self, chunk: Chunk) -> str:
        return f"{self.dataset.files.address(chunk.key)} ({place_of(self.states.level, self.slab.cell, chunk.shard)})"

    def _fill(self, chunk: Chunk, buffers: Sequence[memoryview]) -> None:
        """Read a whole encoded chunk into ``buffers``, one after another; `StoreError` where it is not what was written."""
        found = self.dataset.files.read_into(chunk.key, chunk.offset, buffers, chunk.label)
        if chunk.label is not None and found != chunk.checksum:
            raise StoreError(f"{self._where(chunk)} is damaged: its checksum is not the ledger's; {REPAIR}")
