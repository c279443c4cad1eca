"""One slab read: from every shard one byte range, decoded straight into the caller's buffer.

A chunk that Blosc stored as it is goes from the file into the buffer without any copy in between.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import StoreError
from ie_store.specs import Shard, Slab, StoredDtype, StoreLayout
from ie_store.store.codec import HEADER_BYTES, crc32c, decode_chunk, is_verbatim
from ie_store.store.door import Files
from ie_store.store.layout import NOT_STORED, fill_number, numpy_dtype, shard_key
from ie_store.store.shards import Index


def decoded_dtype(stored_dtype: StoredDtype) -> np.dtype[Any]:
    """Dtype in which states are shown: bfloat16 as float32."""
    return np.dtype(np.float32) if stored_dtype == "bfloat16" else numpy_dtype(stored_dtype)


def decoded(states: NDArray[Any]) -> NDArray[Any]:
    """States as numbers: bfloat16 bits (uint16) become float32, the rest stays."""
    if states.dtype != np.uint16:
        return states
    bits = np.empty(states.shape, np.uint32)
    np.left_shift(states, np.uint32(16), out=bits, dtype=np.uint32)
    return bits.view(np.float32)


@dataclass(frozen=True)
class ShardFacts:
    """What a slab read needs to know about a shard: where its chunks lie and what they must sum to."""

    index: Index
    checksums: NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True)
class SlabJob:
    """One read: rows start..stop-1 of a slab into ``out``. Threads share it, each with shards of its own."""

    files: Files
    name: str
    layout: StoreLayout
    facts: Callable[[Shard], ShardFacts | None]
    slab: Slab
    cell: tuple[int, ...]
    """The slab's place in each shard's index."""
    start: int
    stop: int
    out: NDArray[Any]
    verify: bool
    strict: bool
    """Missing chunks are errors; otherwise they are fill."""

    def read(self, shards: Iterable[int]) -> None:
        """Read the part of some shards, with one buffer for all their encoded chunks."""
        scratch = np.empty(0, np.uint8)
        for number in shards:
            shard = self.layout.shard(self.slab.level, number)
            first, last = max(self.start, shard.start), min(self.stop, shard.stop)
            rows = self.out[first - self.start : last - self.start]
            facts = self.facts(shard)
            offset, length = (NOT_STORED, 0) if facts is None else map(int, facts.index[self.cell])
            if facts is None or offset == NOT_STORED:
                self._fill(shard, rows, "lacks this chunk" if facts else "is not written yet")
                continue
            if len(scratch) < length:
                scratch = np.empty(length, np.uint8)
            checksum = int(facts.checksums[self.cell]) if self.verify else None
            if not self._read_verbatim(shard, offset, length, rows, checksum):
                self._read_encoded(shard, offset, scratch[:length], rows, first - shard.start, checksum)

    def _where(self, shard: Shard) -> str:
        place = f"layer {self.slab.layer}" + (f", position {self.slab.position}" if self.slab.position is not None else "")
        return f"{self.files.address(self._key(shard))} ({shard.level} shard {shard.index}, {place})"

    def _key(self, shard: Shard) -> str:
        return shard_key(self.name, self.layout, shard.level, shard.index)

    def _fill(self, shard: Shard, rows: NDArray[Any], what: str) -> None:
        if self.strict:
            raise StoreError(f"{self._where(shard)} {what}; run the same extract command again: it writes what is missing")
        rows[:] = fill_number(self.layout.stored_dtype)

    def _read_verbatim(self, shard: Shard, offset: int, length: int, rows: NDArray[Any], checksum: int | None) -> bool:
        """Read a whole chunk that was stored as it is; False where it was not, or only a part is wanted."""
        if len(rows) != shard.size or length != rows.nbytes + HEADER_BYTES:
            return False
        header = bytearray(HEADER_BYTES)
        self.files.read_into(self._key(shard), offset, [header, rows])
        if not is_verbatim(header, rows.nbytes):
            return False
        self._verify(shard, [bytes(header), rows], checksum)
        return True

    def _read_encoded(
        self, shard: Shard, offset: int, scratch: NDArray[np.uint8], rows: NDArray[Any], skip: int, checksum: int | None
    ) -> None:
        """Read and decode a chunk; ``rows`` are those after the first ``skip``."""
        self.files.read_into(self._key(shard), offset, [scratch])
        self._verify(shard, [scratch], checksum)
        if len(rows) == shard.size:
            decode_chunk(scratch, rows, self._where(shard))
            return
        whole = np.empty((shard.size, rows.shape[1]), rows.dtype)
        decode_chunk(scratch, whole, self._where(shard))
        rows[:] = whole[skip : skip + len(rows)]

    def _verify(self, shard: Shard, pieces: list[Any], checksum: int | None) -> None:
        if checksum is not None and crc32c(pieces) != checksum:
            raise StoreError(
                f"{self._where(shard)} is damaged: its checksum is not the ledger's; "
                "remove the file and run the same extract command again"
            )
