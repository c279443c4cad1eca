"""Results of stage two, under what they were computed from: records come in, and arrays are put together from them.

::

    MODEL/CORPUS/estimates/<method>-<digest>/
      position/records/ITEM.json     one sealed record for each finished item of work: the commit marks (`records`)
      mi_macro  ie  ...              plain Zarr, one file for each array, put together from all records (`ResultGroup.assemble`)

Whoever finishes an item writes its record and needs nobody's leave. Arrays are put together by one process at a time, under a
lock that is held for a moment; they can always be made again.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from ie_store.errors import StoreError
from ie_store.specs import DatasetIdentity, digest
from ie_store.store.dataset.remove import is_temporary
from ie_store.store.files.open import open_storage
from ie_store.store.files.protocol import Lock, Storage
from ie_store.store.format.attributes import GroupAttributes, ResultsAttributes
from ie_store.store.format.metadata import read_document, write_document, write_group
from ie_store.store.format.small_arrays import with_checksum
from ie_store.store.results.group import checksum_of, group_key, read_results_group, result_template
from ie_store.store.results.holds import hold_results, patiently, require_states
from ie_store.store.results.records import Record, read_record, record_items, write_record
from ie_store.variables import Flags, Piece, Variable, WholeArrays, assemble, coordinate

WAIT_SECONDS = 120.0
"""For another process that puts the same arrays together: a moment, or until the claim of one that was killed expires."""
ASSEMBLY_FOLDER, RUN_FOLDER = "block", "position"
"""Array folders that keep the group's locks and scratch files: unexpected files in a group's folder make Zarr readers warn."""
Derived = tuple[list[Piece], Flags]
Derive = Callable[[WholeArrays, Flags], Derived]
"""What follows from the arrays and flags of all records: further pieces and further flags."""


def nothing_derived(arrays: WholeArrays, flags: Flags) -> Derived:
    """The default `Derive`: nothing more."""
    return [], {}


def sizes_of(identity: DatasetIdentity) -> dict[str, int]:
    """Lengths of the dimensions that a dataset fixes."""
    layout = identity.layout
    return {
        "block": layout.num_layers - 1,
        "layer": layout.num_layers,
        "position": layout.num_positions,
        "token_position": layout.num_positions,
        "sequence": layout.num_sequences,
    }


def open_results(store: str, name: str, method: Mapping[str, Any], identity: DatasetIdentity) -> "ResultGroup":
    """The results of ``method`` (its name and all that changes them) on dataset ``name``; nothing is written or held yet.

    Args:
        store: local folder or s3://BUCKET/PREFIX.
        name: MODEL/CORPUS.
        method: JSON values; their digest names the group.
        identity: of the states, as they were read.

    Raises:
        StoreError: a record that is there is damaged.
        IdentityError: the results there were computed from other states.
    """
    return ResultGroup(open_storage(store), name, dict(method), identity)


class ResultGroup:
    """The results of one method on one dataset. `open_results` makes it."""

    def __init__(self, files: Storage, name: str, method: dict[str, Any], identity: DatasetIdentity) -> None:
        self.key = group_key(name, method)
        self._files, self._name, self._method, self._identity = files, name, method, identity
        self._records: dict[str, Record] = {}
        self._sizes = sizes_of(identity)
        read_results_group(files, name, self.key.rpartition("/")[2], identity)
        self.refresh()

    def refresh(self) -> None:
        """Read the records that others have written meanwhile."""
        for item in record_items(self._files, self.key):
            if item not in self._records:
                self._records[item] = read_record(self._files, self.key, item, digest(self._identity))

    @property
    def items(self) -> frozenset[str]:
        """Items that have a record, of those that are known."""
        return frozenset(self._records)

    @property
    def arrays(self) -> WholeArrays:
        """All arrays of the records that are known, by name."""
        return assemble([piece for record in self._records.values() for piece in record.pieces], self._sizes)

    @property
    def flags(self) -> Flags:
        """Flags of the records that are known, by ``level/block/position``."""
        return {place: found for record in self._records.values() for place, found in record.flags.items() if found}

    def hold_run(self) -> Lock:
        """The right to compute these results, until released; meanwhile the dataset is neither removed nor replaced.

        Raises:
            StoreError: the states were removed or replaced.
            BusyError: a living process computes the same.
        """
        lock = hold_results(self._files, self._name, f"{self.key}/{RUN_FOLDER}/.lock", self._identity)
        try:
            self._files.delete(*filter(is_temporary, list(self._files.list_keys(self.key))))
        except BaseException:
            lock.release()
            raise
        return lock

    def commit(self, record: Record) -> None:
        """Keep a record: the first of its item stays.

        Raises:
            StoreError: the states were removed or replaced by somebody who minds no locks.
        """
        require_states(self._files, self._name, self._identity)
        write_record(self._files, self.key, record, self._method, digest(self._identity))
        self._records[record.item] = record

    def assemble(self, derive: Derive = nothing_derived) -> WholeArrays:
        """Put the arrays together from all records, those of other processes too; what does not change is not written.

        The caller holds a run on the dataset.

        Raises:
            StoreError: a record is damaged, or the states are others now.
            BusyError: another process does the same for longer than it takes.
        """
        with patiently(lambda: self._files.lock(f"{self.key}/{ASSEMBLY_FOLDER}/.lock"), WAIT_SECONDS):
            require_states(self._files, self._name, self._identity)
            self.refresh()
            arrays, flags = self.arrays, self.flags
            pieces, more_flags = derive(arrays, flags)
            arrays |= assemble([*pieces, *self._coordinates(arrays)], self._sizes)
            self._write_parent()
            for variable, values in arrays.values():
                self._write_array(variable, values)
            self._write_attributes(arrays, flags | more_flags)
            return arrays

    def _coordinates(self, arrays: WholeArrays) -> list[Piece]:
        """Plain numbers for the dimensions that have no values of their own yet."""
        used = {dimension for variable, _ in arrays.values() for dimension in variable.dimensions} | {"block", "position"}
        return [
            coordinate(dimension, range(self._sizes[dimension]))
            for dimension in sorted(used & self._sizes.keys() - arrays.keys())
        ]

    def _write_array(self, variable: Variable, values: Any) -> None:
        key, document = f"{self.key}/{variable.name}", result_template(variable, values).document()
        chunk_key, chunk = "/".join([key, "c", *["0"] * values.ndim]), with_checksum(values)
        if self._read_or_none(chunk_key, len(chunk)) != chunk:
            self._files.write_atomic(chunk_key, [chunk])
        if self._read_or_none(f"{key}/zarr.json") != json.dumps(document, indent=2, allow_nan=False).encode():
            write_document(self._files, key, document)

    def _read_or_none(self, key: str, *most_bytes: int) -> bytes | None:
        try:
            return self._files.read(key, *most_bytes)
        except StoreError:  # damaged: written again
            return None

    def _write_parent(self) -> None:
        parent = self.key.rpartition("/")[0]
        if read_document(self._files, parent) is None:
            write_group(self._files, parent, GroupAttributes(), scratch=f"{self.key}/{ASSEMBLY_FOLDER}")

    def _write_attributes(self, arrays: WholeArrays, flags: Flags) -> None:
        sessions = {json.dumps(record.session, sort_keys=True): record.session for record in self._records.values()}
        attributes = ResultsAttributes(
            estimator=self._method,
            activations_digest=digest(self._identity),
            num_blocks=self._sizes["block"],
            num_positions=self._sizes["position"],
            sessions=tuple(sorted(sessions.values(), key=lambda session: str(session.get("started")))),
            flags=flags,
            checksums={name: checksum_of(values) for name, (_, values) in sorted(arrays.items())},
        )
        if read_results_group(self._files, self._name, self.key.rpartition("/")[2], self._identity) != attributes:
            write_group(self._files, self.key, attributes, scratch=f"{self.key}/{ASSEMBLY_FOLDER}")
