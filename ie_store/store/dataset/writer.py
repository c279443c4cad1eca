"""Writing a dataset: open or resume it, repair it, mark it complete; `shard_writer` writes its shards."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace as replace_fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import StoreError
from ie_store.options import OnProgress, ignore_progress
from ie_store.specs import LEVELS, CorpusSpec, DatasetIdentity, Level
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
from ie_store.store.dataset.shard_writer import ShardWriter
from ie_store.store.files.open import open_storage
from ie_store.store.files.protocol import Lock, Storage
from ie_store.store.format.arrays import LOCK_FOLDER, dataset_name
from ie_store.store.format.attributes import Audit
from ie_store.store.format.metadata import write_group
from ie_store.texts import CorpusTexts


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
    """Hold the right to write dataset ``name`` through ``files`` while open; where nothing came of it, no trace is left.

    Raises:
        StoreError: something else stands there.
        BusyError: a living process writes it.
    """
    require_creatable(files, dataset_name(name))
    key = lock_key(name)
    with files.lock(key) as lock:
        try:
            yield files
        finally:
            if set(files.list_keys(name)) == {key}:  # whoever made it: one may hold what another that starts has made
                lock.remove()


def _require_same(files: Storage, name: str, identity: DatasetIdentity, replace: bool) -> Dataset | None:
    """An existing dataset; `IdentityError` where it was made from something else and is to stay."""
    dataset = find_dataset(files, name)
    if dataset is not None and not replace:
        require_identity(dataset, identity)
    return dataset


class DatasetWriter(ShardWriter):
    """An open dataset that this process alone may write. `open_writer` makes it; close it to free the lock."""

    def __init__(self, dataset: Dataset, lock: Lock | None, session: dict[str, Any]) -> None:
        super().__init__(dataset, self.number_of_session)
        self._lock, self._session = lock, session
        self._session_index: int | None = None
        self._session_guard = threading.Lock()

    def number_of_session(self) -> int:
        """This run's place among the ledger's sessions, where it is entered the first time somebody asks."""
        with self._session_guard:
            if self._session_index is None:
                self._session_index = ledger.add_session(self.dataset, self._session)
            return self._session_index

    def missing_shards(self, level: Level) -> list[int]:
        """Shards of macro or micro that are still to be written, rising."""
        return ledger.missing_shards(self.dataset, level)

    def sweep(self) -> None:
        """Remove the unfinished files of workers that were killed; one that still writes meets an error."""
        sweep_temporaries(self.dataset.files, self.dataset.name)

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
        super().close()
        if self._lock is not None:
            self._lock.release()
