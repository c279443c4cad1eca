"""Writing a dataset: open or resume it, write whole shards, mark it complete.

A shard's file is encoded chunk by chunk in threads while earlier chunks go to the disk; then come its index, fsync,
rename, and the ledger entry that makes it count.
"""

import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace as replace_fields
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import InputError, StoreError
from ie_store.options import OnProgress, ignore_progress
from ie_store.specs import LEVELS, CorpusSpec, DatasetIdentity, Level, Shard
from ie_store.store.dataset import ledger
from ie_store.store.dataset.create import (
    create_dataset,
    require_creatable,
    require_rows,
    sweep_temporaries,
)
from ie_store.store.dataset.handle import Dataset, find_dataset, require_identity
from ie_store.store.dataset.remove import lock_key
from ie_store.store.dataset.repair import Damage, SmallArrays, find_damage, fix_damage
from ie_store.store.files.checksum import crc32c
from ie_store.store.files.open import open_storage
from ie_store.store.files.protocol import Buffer, Lock, Storage
from ie_store.store.format.arrays import LOCK_FOLDER, dataset_name, fill_number, numpy_dtype
from ie_store.store.format.attributes import Audit
from ie_store.store.format.codec import encode_chunk
from ie_store.store.format.metadata import write_group
from ie_store.store.format.shard_index import CHUNK_ALIGNMENT, empty_index, index_bytes, pack_index
from ie_store.texts import CorpusTexts

MAX_ENCODERS = 4
"""Threads that encode chunks; more do not help: the disk is slower."""
_Encoded = tuple[list[Buffer], int]
"""The buffers of an encoded chunk and what the ledger holds of it."""


def open_writer(
    store: str,
    name: str,
    *,
    identity: DatasetIdentity,
    corpus: CorpusSpec,
    tokens: NDArray[np.int32],
    source_row: NDArray[np.int64],
    labels: dict[str, NDArray[Any]],
    session: dict[str, Any],
    texts: CorpusTexts | None = None,
    replace: bool = False,
    held: Storage | None = None,
) -> "DatasetWriter":
    """Create dataset ``name`` or resume it, holding its lock until the writer is closed.

    Args:
        store: local folder, created where missing, or s3://BUCKET/PREFIX.
        name: MODEL/CORPUS.
        identity: what the states are made from; must equal that of an existing dataset.
        corpus: what the rows are.
        tokens: (sequence, position), sorted lexicographically.
        source_row: (sequence,).
        labels: per name (sequence,), numbers or texts.
        texts: what people read of the rows, where it is known; no part of the identity.
        session: provenance of this run (versions, device, threads, time); kept with the shards it writes.
        replace: remove a dataset of the same name and another identity first.
        held: the storage through which the caller holds the dataset already (`hold_dataset`), and goes on to.

    Raises:
        InputError: the name or the rows do not fit.
        StoreError: something else stands there.
        IdentityError: a dataset of another identity stands there.
        BusyError: a living process writes it.
    """
    files = open_storage(store) if held is None else held
    require_rows(identity, corpus, tokens, source_row, labels)
    require_creatable(files, dataset_name(name))
    _require_same(files, name, identity, replace)
    own = files.lock(lock_key(name)) if held is None else None
    try:
        dataset = _require_same(files, name, identity, replace)
        if dataset is None or identity.differences(dataset.identity):
            dataset = create_dataset(files, name, identity, corpus, tokens, source_row, labels, texts)
        sweep_temporaries(files, name)
    except BaseException:
        if own is not None:
            own.release()
        raise
    return DatasetWriter(dataset, own, session)


@contextmanager
def hold_dataset(files: Storage, name: str) -> Iterator[Storage]:
    """Hold the right to write dataset ``name`` through ``files`` while open; where nothing came of it, the store is as it was.

    Raises:
        StoreError: something else stands there.
        BusyError: a living process writes it.
    """
    require_creatable(files, dataset_name(name))
    key = lock_key(name)
    is_new = files.size(key) is None
    with files.lock(key) as lock:
        try:
            yield files
        finally:
            if is_new and set(files.list_keys(name)) == {key}:
                lock.remove()


def _require_same(files: Storage, name: str, identity: DatasetIdentity, replace: bool) -> Dataset | None:
    """An existing dataset; `IdentityError` where it was made from something else and is to stay."""
    dataset = find_dataset(files, name)
    if dataset is not None and not replace:
        require_identity(dataset, identity)
    return dataset


class DatasetWriter:
    """An open dataset that this process alone may write. `open_writer` makes it; close it to free the lock."""

    def __init__(self, dataset: Dataset, lock: Lock | None, session: dict[str, Any]) -> None:
        self.dataset, self.layout = dataset, dataset.layout
        self._lock, self._session = lock, session
        self._session_index: int | None = None
        self._session_guard = threading.Lock()
        self._encoders = ThreadPoolExecutor(min(MAX_ENCODERS, os.cpu_count() or 1), thread_name_prefix="encode")

    def missing_shards(self, level: Level) -> list[int]:
        """Shards of macro or micro that are still to be written, rising."""
        return ledger.missing_shards(self.dataset, level)

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

    def _number_of_session(self) -> int:
        with self._session_guard:
            if self._session_index is None:
                self._session_index = ledger.add_session(self.dataset, self._session)
            return self._session_index

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

    def repair(self, arrays: SmallArrays, on_progress: OnProgress = ignore_progress) -> Damage:
        """Check all that is stored, mark the dataset incomplete and put it right where that finds damage; what was damaged.

        Args:
            arrays: what `layout.coordinate_values` makes of the dataset's corpus.
            on_progress: called with chunks checked.
        """
        damage = find_damage(self.dataset, arrays, on_progress)
        if damage:
            self.mark_incomplete(f"found damaged and made again: {damage}")
            fix_damage(self.dataset, arrays, damage)
        return damage

    def mark_complete(self, audit: dict[str, Any]) -> None:
        """Say that all shards are written, with the audit's result.

        Raises:
            StoreError: some are not.
        """
        missing = {level: len(self.missing_shards(level)) for level in LEVELS}
        if any(missing.values()):
            counts = " and ".join(f"{count} {level}" for level, count in missing.items())
            raise StoreError(f"{self.dataset.address} lacks {counts} shards and cannot be marked complete")
        self._mark(complete=True, incomplete_reason=None, audit=Audit(**audit))

    def mark_incomplete(self, reason: str) -> None:
        """Say why the dataset is not complete."""
        self._mark(complete=False, incomplete_reason=reason)

    def _mark(self, **attributes: Any) -> None:
        dataset = self.dataset
        self.dataset = replace_fields(dataset, attributes=replace_fields(dataset.attributes, **attributes))
        write_group(dataset.files, dataset.name, self.dataset.attributes, scratch=dataset.key(LOCK_FOLDER))

    def close(self) -> None:
        """Free the lock, where it is the writer's own."""
        self._encoders.shutdown()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> "DatasetWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
