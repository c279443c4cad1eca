"""Results of stage two, under what they were computed from: records come in, and arrays are put together from them.

::

    MODEL/CORPUS/estimates/<method>-<digest>/
      position/records/ITEM.json     one sealed record for each finished item of work: the commit marks (`records`)
      mi_macro  ie  ...              plain Zarr, one file for each array, put together from all records (`ResultGroup.assemble`)

Files are written by one process at a time, under a lock that is held for a moment. Arrays can always be made again.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from ie_store.errors import StoreError
from ie_store.specs import StoreLayout
from ie_store.store.dataset.handle import Dataset
from ie_store.store.dataset.remove import is_temporary
from ie_store.store.files.protocol import Lock
from ie_store.store.format.attributes import GroupAttributes, ResultsAttributes
from ie_store.store.format.metadata import read_document, write_document, write_group
from ie_store.store.format.small_arrays import with_checksum
from ie_store.store.results.group import checksum_of, group_name, is_document, read_results_group, result_template
from ie_store.store.results.holds import hold_results, patiently, require_states
from ie_store.store.results.records import Record, read_record, record_items, record_key, write_record
from ie_store.variables import Flags, Piece, Variable, WholeArrays, assemble, coordinate

WAIT_SECONDS = 120.0
"""For another process that puts the same arrays together: a moment, or until the claim of one that was killed expires."""
ASSEMBLY_FOLDER, RUN_FOLDER = "block", "position"
"""Array folders that keep the group's locks and scratch files: unexpected files in a group's folder make Zarr readers warn."""
LAST = "outcome_"
"""How names of arrays begin that say what is known; the values that they speak of are written before."""
Derived = tuple[list[Piece], Flags]
Derive = Callable[[WholeArrays, Flags], Derived]
"""What follows from the arrays and flags of all records: further pieces and further flags."""


def nothing_derived(arrays: WholeArrays, flags: Flags) -> Derived:
    """The default `Derive`: nothing more."""
    return [], {}


def sizes_of(layout: StoreLayout) -> dict[str, int]:
    """Lengths of the dimensions that a dataset fixes."""
    return {
        "block": layout.num_layers - 1,
        "layer": layout.num_layers,
        "position": layout.num_positions,
        "token_position": layout.num_positions,
        "sequence": layout.num_sequences,
    }


def open_results(dataset: Dataset, method: Mapping[str, Any]) -> "ResultGroup":
    """The results of ``method`` (its name and all that changes them) on a dataset; nothing is written or held yet.

    Args:
        dataset: what was opened to read the states, so that results are bound to those.
        method: JSON values; their digest names the group.

    Raises:
        StoreError: a record that is there is damaged.
        IdentityError: the results there were computed from other states.
    """
    return ResultGroup(dataset, dict(method))


class ResultGroup:
    """The results of one method on one dataset. `open_results` makes it."""

    def __init__(self, dataset: Dataset, method: dict[str, Any]) -> None:
        self._dataset, self._files, self._method, self._group = dataset, dataset.files, method, group_name(method)
        self.key = dataset.key("estimates", self._group)
        self._records: dict[str, Record] = {}
        self._sizes = sizes_of(dataset.layout)
        read_results_group(dataset, self._group)
        self.refresh()

    def refresh(self) -> None:
        """Read the records that others have written meanwhile."""
        for item in record_items(self._files, self.key):
            if item not in self._records:
                self._records[item] = read_record(self._files, self.key, item, self._dataset.identity_digest)

    def find(self, item: str) -> bool:
        """True where an item has a record now; one that others have written meanwhile is read, one that they removed forgotten.

        Raises:
            StoreError: it is damaged, or was made from other states.
        """
        if self._files.size(record_key(self.key, item)) is None:
            self._records.pop(item, None)
        elif item not in self._records:
            self._records[item] = read_record(self._files, self.key, item, self._dataset.identity_digest)
        return item in self._records

    @property
    def items(self) -> frozenset[str]:
        """Items whose records are known: what need not be done again."""
        return frozenset(self._records)

    @property
    def arrays(self) -> WholeArrays:
        """All arrays of the records that are known, by name."""
        return assemble([piece for record in self._records.values() for piece in record.pieces], self._sizes)

    def arrays_of(self, item: str) -> WholeArrays:
        """Arrays over (block, position) of one record that is known, by name; no others, which may be large."""
        pieces = [part for part in self._records[item].pieces if part.variable.dimensions == ("block", "position")]
        return assemble(pieces, self._sizes)

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
        return hold_results(self._dataset, f"{self.key}/{RUN_FOLDER}/.lock")

    def _hold_writing(self) -> Lock:
        """The right to write a file of the group, for a moment; whoever has it may remove what a killed process left."""
        return patiently(lambda: self._files.lock(f"{self.key}/{ASSEMBLY_FOLDER}/.lock"), WAIT_SECONDS)

    def commit(self, record: Record) -> None:
        """Keep a record: the first of its item stays.

        Raises:
            StoreError: the states were removed or replaced by somebody who minds no locks.
        """
        with self._hold_writing():
            require_states(self._dataset)
            write_record(self._files, self.key, record, self._method, self._dataset.identity_digest)
        self._records[record.item] = record

    def assemble(self, derive: Derive = nothing_derived) -> WholeArrays:
        """Put the arrays together from all records, those of other processes too; what does not change is not written.

        The caller holds a run on the dataset.

        Raises:
            StoreError: a record is damaged, or the states are others now.
            BusyError: another process does the same for longer than it takes.
        """
        with self._hold_writing():
            require_states(self._dataset)
            self._files.delete(*filter(is_temporary, list(self._files.list_keys(self.key))))
            self.refresh()
            arrays, flags = self.arrays, self.flags
            pieces, more_flags = derive(arrays, flags)
            arrays |= assemble([*pieces, *self._coordinates(arrays)], self._sizes)
            self._write(arrays, flags | more_flags)
            return arrays

    def _write(self, arrays: WholeArrays, flags: Flags) -> None:
        """Write what changed, so that a reader, or a kill, at any moment meets arrays that the attributes accept.

        New arrays first, which no attributes name yet; then attributes that accept what stands there and what will; then the
        arrays, those that say what is known last; then attributes that accept these alone.
        """
        self._write_parent()
        stored = read_results_group(self._dataset, self._group)
        accepted = stored.checksums if stored else {}
        sums = {name: checksum_of(values) for name, (_, values) in sorted(arrays.items())}
        order = sorted(arrays, key=lambda name: (name in accepted, name.startswith(LAST)))
        for name in (name for name in order if name not in accepted):
            self._write_array(*arrays[name])
        self._write_attributes(flags, {name: tuple(sorted({*accepted.get(name, ()), sums[name]})) for name in sums})
        for name in (name for name in order if name in accepted):
            self._write_array(*arrays[name])
        self._write_attributes(flags, {name: (found,) for name, found in sums.items()})

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
        if not is_document(self._document_or_none(key), document):
            write_document(self._files, key, document)

    def _read_or_none(self, key: str, *most_bytes: int) -> bytes | None:
        try:
            return self._files.read(key, *most_bytes)
        except StoreError:  # damaged: written again
            return None

    def _document_or_none(self, key: str) -> dict[str, Any] | None:
        try:
            return read_document(self._files, key)
        except StoreError:
            return None

    def _write_parent(self) -> None:
        parent = self.key.rpartition("/")[0]
        if read_document(self._files, parent) is None:
            write_group(self._files, parent, GroupAttributes(), scratch=f"{self.key}/{ASSEMBLY_FOLDER}")

    def _write_attributes(self, flags: Flags, checksums: dict[str, tuple[int, ...]]) -> None:
        sessions = {json.dumps(record.session, sort_keys=True): record.session for record in self._records.values()}
        attributes = ResultsAttributes(
            estimator=self._method,
            activations_digest=self._dataset.identity_digest,
            num_blocks=self._sizes["block"],
            num_positions=self._sizes["position"],
            sessions=tuple(sorted(sessions.values(), key=lambda session: str(session.get("started")))),
            flags=flags,
            checksums=checksums,
        )
        if read_results_group(self._dataset, self._group) != attributes:
            write_group(self._files, self.key, attributes, scratch=f"{self.key}/{ASSEMBLY_FOLDER}")
