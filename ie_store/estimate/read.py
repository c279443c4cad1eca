"""Reading slabs: one Dask task each.

A task reads a slab shard by shard into where its rows are kept, looks at every row while it lies there (NaN and Inf are refused,
equal rows are known by their hashes), and makes no second copy.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import torch
from dask.delayed import delayed
from numpy.typing import NDArray

from ie_store.errors import NonFiniteError, StoreError
from ie_store.estimate.exact.entropies import num_collisions
from ie_store.estimate.exact.prefix_index import PrefixIndex
from ie_store.estimate.exact.row_hashes import ROWS_AT_ONCE, Hashes, classes_of, row_hashes
from ie_store.estimate.memory import give_back
from ie_store.estimate.stored_rows import ChosenRows, NewRows, Room, StoredRows
from ie_store.specs import Slab
from ie_store.store.dataset.reader import READERS, DatasetReader, open_reader
from ie_store.store.format.arrays import numpy_dtype

STORED = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
EXPONENTS = {"float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F800000}
"""Bits that are all set in NaN and Inf alone."""


@dataclass(frozen=True, kw_only=True)
class SlabStates:
    """A slab that was read."""

    rows: StoredRows
    """(row, hidden) stored dtype"""
    classes: NDArray[np.int32] | None
    """(row,) equal for rows that are equal byte by byte; None where none are"""
    digest: bytes
    """Of all rows of the slab in their order."""
    _counted: list[int] = field(default_factory=list, compare=False)

    def collisions(self, outcomes: NDArray[np.integer]) -> int:
        """How many of the ``outcomes`` (row,) of a macro slab, the same whoever asks, share a state with another."""
        if not self._counted:
            self._counted.append(0 if self.classes is None else num_collisions(self.classes, outcomes))
        return self._counted[0]

    def at(self, index: NDArray[np.int64]) -> "SlabStates":
        """The rows ``index`` (row,) alone, without a copy of them."""
        rows = ChosenRows(self.rows, torch.from_numpy(index).to(self.rows.device))
        return SlabStates(rows=rows, classes=None if self.classes is None else self.classes[index], digest=self.digest)


def open_complete(store: str, name: str) -> DatasetReader:
    """The reader of a dataset that holds all its states.

    Raises:
        StoreError: no such dataset, incomplete or damaged.
    """
    reader = open_reader(store, name)
    if not reader.complete:
        raise StoreError(
            f"{reader.address} is incomplete: {reader.attributes.incomplete_reason}; "
            "run the same extract command again: it goes on where it stopped"
        )
    return reader


def read_prefixes(reader: DatasetReader) -> PrefixIndex:
    """The corpus of a dataset as problems see it. Its reader keeps nothing of it.

    Raises:
        StoreError: the corpus is missing or damaged.
    """
    corpus = reader.read_corpus()
    return PrefixIndex(corpus.tokens, corpus.token_values, reader.corpus, reader.layout.num_layers - 1)


def read_states(reader: DatasetReader, slab: Slab, room: Room) -> SlabStates:
    """Read one slab into a room, and look at all of its rows.

    Raises:
        StoreError: not stored, missing or damaged.
        NonFiniteError: NaN or Inf in it.
        DiskSpaceError: its rows fit nowhere.
    """
    found: SlabStates = delayed(_read, pure=False)(reader, slab, room).compute(scheduler="synchronous")
    return found


def _read(reader: DatasetReader, slab: Slab, room: Room) -> SlabStates:
    rows = room.make(reader.num_rows(slab.level), reader.layout.hidden_size, STORED[reader.layout.stored_dtype])
    hashes = _fill(rows, reader, slab, room.reading_bytes)
    found = SlabStates(rows=rows, classes=classes_of(hashes), digest=blake2b(hashes.data).digest())
    del hashes
    give_back()
    return found


def _fill(rows: NewRows, reader: DatasetReader, slab: Slab, reading_bytes: int | None) -> Hashes:
    """Read the rows of a slab to where they are kept; their hashes."""
    num_rows, size = reader.num_rows(slab.level), reader.layout.level(slab.level).rows_per_shard
    hashes, is_bad = np.empty((num_rows, 2), np.uint64), np.zeros(num_rows, dtype=bool)

    def read(start: int) -> None:
        here = slice(start, min(start + size, num_rows))
        hashes[here], is_bad[here] = _read_part(reader, slab, rows, here)

    starts = range(0, num_rows, size)
    part_bytes = 2 * min(size, num_rows) * reader.layout.level(slab.level).row_bytes  # encoded and decoded
    affordable = READERS if reading_bytes is None else max(1, reading_bytes // part_bytes)
    with ThreadPoolExecutor(min(affordable, READERS, len(starts)), thread_name_prefix="shards") as pool:
        for _ in pool.map(read, starts):
            pass
    bad = np.flatnonzero(is_bad)
    if len(bad):
        raise NonFiniteError(
            f"{reader.address}: the states of {slab} have NaN or Inf in {len(bad):,} of {num_rows:,} rows, the "
            f"first is row {bad[0]}; run 'ie-store verify', then extract again (with --dtype float32 if float16 overflowed)"
        )
    return hashes


def _read_part(reader: DatasetReader, slab: Slab, rows: NewRows, here: slice) -> tuple[Hashes, NDArray[np.bool_]]:
    """Read the rows ``here``; their hashes, and which of them (row,) hold NaN or Inf."""
    part, dtype = rows.memory(here.start, here.stop), reader.layout.stored_dtype
    bits = part.view(torch.int32 if part.dtype == torch.float32 else torch.int16).numpy()
    reader.read_rows(slab, here.start, here.stop, bits.view(numpy_dtype(dtype)))
    rows.write(here.start, part)
    is_bad = np.empty(len(bits), dtype=bool)
    for start in range(0, len(bits), ROWS_AT_ONCE):
        some, exponent = bits[start : start + ROWS_AT_ONCE], EXPONENTS[dtype]
        is_bad[start : start + ROWS_AT_ONCE] = ((some & exponent) == exponent).any(axis=1)
    return row_hashes(bits), is_bad
