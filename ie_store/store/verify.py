"""Checking a dataset to its last byte: metadata, the corpus, and every chunk of every shard against the ledger."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import IeStoreError, StoreError
from ie_store.options import OnProgress, Progress, ignore_progress
from ie_store.prefixes import first_differences
from ie_store.specs import DatasetIdentity, Level, StoreLayout, digest
from ie_store.store.corpus_rows import corpus_fault, read_corpus
from ie_store.store.door import Files
from ie_store.store.files import open_files
from ie_store.store.layout import (
    NOT_STORED,
    ArrayTemplate,
    cell_grid,
    coordinate_values,
    shard_key,
    state_array,
    state_template,
    stored_cells,
)
from ie_store.store.ledger import (
    LEVELS,
    chunk_checksum,
    decoded_chunk_bytes,
    ledger_templates,
    read_checksums,
    read_index,
    read_sessions,
)
from ie_store.store.metadata import read_array, read_document
from ie_store.store.plain import read_plain
from ie_store.store.reader import DatasetReader, open_reader
from ie_store.store.shards import Index, end_of_chunks, index_bytes, most_shard_bytes, place_of
from ie_store.store.verify_results import results_faults


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What `verify_dataset` looked at and what it found."""

    num_shards: int
    num_chunks: int
    """Chunks whose checksum was compared."""
    num_bytes: int
    faults: list[str]
    """One sentence each; empty where all is well."""


def verify_dataset(store: str, name: str, on_progress: OnProgress = ignore_progress) -> VerifyReport:
    """Read a whole dataset and compare all that can be compared. Lists every fault instead of stopping at the first.

    Raises:
        StoreError: no such store or dataset.
    """
    reader = open_reader(store, name)
    files, layout = open_files(store), reader.layout
    check = ShardCheck(files, name, reader.identity, on_progress)
    faults = [
        *_metadata_faults(files, name, layout),
        *_array_faults(files, reader),
        *results_faults(files, name, reader.identity),
    ]
    faults = list(dict.fromkeys([*faults, *check.all_faults(reader.complete)]))  # two checks may meet the same one
    return VerifyReport(num_shards=check.num_shards, num_chunks=check.num_chunks, num_bytes=check.num_bytes, faults=faults)


def _metadata_faults(files: Files, name: str, layout: StoreLayout) -> Iterator[str]:
    """Arrays whose metadata do not follow from the dataset's identity."""
    templates = {f"{name}/{t.name}": t for t in (state_template(layout, level) for level in LEVELS)}
    templates |= {f"{name}/ledger/{t.name}": t for t in ledger_templates(layout)}
    try:
        read_sessions(files, name)
    except StoreError as error:
        yield str(error)
    for key, template in templates.items():
        try:
            read_array(files, key)
            document = read_document(files, key) or {}
        except StoreError as error:
            yield str(error)
            continue
        if fields := differing(document, template):
            yield f"{files.address(key)}/zarr.json does not fit the dataset's identity: {', '.join(fields)}"


def differing(document: dict[str, Any], template: ArrayTemplate) -> list[str]:
    """Fields of an array's ``zarr.json`` that do not follow from its template."""
    fields = ("node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "dimension_names")
    expected = template.document()
    differing = [field for field in fields if document.get(field) != expected[field]]
    found, wanted = ((d.get("codecs") or [{}])[0] for d in (document, expected))
    inner = [codec.get("configuration", {}).get("chunk_shape") for codec in (found, wanted)]
    return differing + (["codecs"] if found.get("name") != wanted.get("name") or inner[0] != inner[1] else [])


def _array_faults(files: Files, reader: DatasetReader) -> Iterator[str]:
    """Small arrays that are damaged, or that contradict each other."""
    found: dict[str, NDArray[Any]] = {}
    others = {state_array(level, reader.layout.stored_dtype) for level in LEVELS} | {"ledger", "estimates"}
    for array in (array for array in files.list_folders(reader.name) if array not in others):
        try:
            found[array] = read_plain(files, f"{reader.name}/{array}")
        except StoreError as error:
            yield str(error)
    tokens, source_row = found.get("token_id"), found.get("source_row")
    for array in {"token_id", "layer", "position", "sequence", "token", "source_row"} - found.keys():
        yield f"{reader.address}/{array} cannot be read"
    if tokens is None or source_row is None:
        return
    try:
        first_differences(tokens)
    except IeStoreError as error:
        yield f"{reader.address}/token_id: {error}"
    for array, (_, values) in coordinate_values(reader.layout, tokens, source_row, {}).items():
        if array in found and not np.array_equal(found[array], values):
            yield f"{reader.address}/{array} does not hold the values that follow from the layout and token_id"
    yield from _corpus_faults(files, reader)


def _corpus_faults(files: Files, reader: DatasetReader) -> Iterator[str]:
    """Rows that are not those which the states belong to."""
    try:
        rows = read_corpus(files, reader.name, reader.attributes, verify=False)
    except StoreError as error:
        yield str(error)
        return
    if fault := corpus_fault(rows, reader.attributes, reader.address):
        yield fault


class ShardCheck:
    """Walks the shards of a dataset chunk by chunk and counts what it has seen."""

    def __init__(self, files: Files, name: str, identity: DatasetIdentity, on_progress: OnProgress) -> None:
        self.num_shards = self.num_chunks = self.num_bytes = 0
        self._files, self._name, self._layout, self._on_progress = files, name, identity.layout, on_progress
        self._digest = digest(identity)
        self._total = sum(self._layout.num_shards(level) * len(stored_cells(self._layout, level)) for level in LEVELS)

    def faults(self, level: Level, shard: int) -> list[str] | None:
        """What is wrong with a shard that the ledger says is written; None where it says nothing."""
        try:
            checksums = read_checksums(self._files, self._name, self._layout, level, shard)
            return None if checksums is None else list(self._faults(level, shard, checksums))
        except StoreError as error:
            return [f"{level} shard {shard}: {error}"]

    def all_faults(self, complete: bool) -> Iterator[str]:
        """Faults of all shards; those not written are told in one sentence."""
        for level in LEVELS:
            unwritten = 0
            for shard in range(self._layout.num_shards(level)):
                found = self.faults(level, shard)
                unwritten += found is None
                yield from found or []
            if unwritten:
                told = "though the dataset says that it is complete" if complete else "yet: run the same extract command again"
                yield f"{unwritten} of {self._layout.num_shards(level)} {level} shards are not written {told}"

    def _faults(self, level: Level, shard: int, checksums: NDArray[np.uint32]) -> Iterator[str]:
        key = shard_key(self._name, self._layout, level, shard)
        address, grid = self._files.address(key), cell_grid(self._layout, level)
        found = read_index(self._files, self._name, self._layout, level, shard)
        if found is None:
            raise StoreError(f"{address} is missing")
        index, size = found
        expected = end_of_chunks(index) + index_bytes(grid)
        self.num_shards += 1
        if size != expected:
            yield f"{address}: {level} shard {shard} has {size:,} bytes, its index says {expected:,}"
        yield from _index_faults(index, stored_cells(self._layout, level), address)
        if expected <= most_shard_bytes(grid, decoded_chunk_bytes(self._layout, level)):
            yield from self._chunk_faults(level, shard, index, checksums)
        else:
            yield f"{address}: {level} shard {shard} has gaps between its chunks"

    def _chunk_faults(self, level: Level, shard: int, index: Index, checksums: NDArray[np.uint32]) -> Iterator[str]:
        key = shard_key(self._name, self._layout, level, shard)
        whole = np.empty(end_of_chunks(index), np.uint8)  # read at once: disks like long reads
        self._files.read_into(key, 0, [whole.data])
        for cell in stored_cells(self._layout, level):
            offset, length = map(int, index[cell])
            if offset == NOT_STORED:
                continue
            if chunk_checksum(self._digest, level, shard, cell, [whole[offset : offset + length]]) != checksums[cell]:
                where = f"{self._files.address(key)}: {level} shard {shard}, {place_of(cell)}"
                yield f"{where} is damaged (crc32c) or belongs elsewhere"
            self.num_chunks += 1
            self.num_bytes += length
            self._on_progress(
                Progress(stage="verify", done=self.num_chunks, total=self._total, unit="chunks", num_bytes=self.num_bytes)
            )


def _index_faults(index: Index, cells: list[tuple[int, ...]], address: str) -> Iterator[str]:
    present = {cell for cell in np.ndindex(*index.shape[:-1]) if index[cell][0] != NOT_STORED}
    if lacking := sorted(set(cells) - present):
        yield f"{address}: its index lacks {len(lacking)} chunks, the first at {lacking[0]}"
    if strange := sorted(present - set(cells)):
        yield f"{address}: its index holds {len(strange)} chunks that are not of this dataset, the first at {strange[0]}"
    extents = sorted((int(index[cell][0]), int(index[cell][1])) for cell in present)
    end = 0
    for offset, length in extents:
        if offset < end:
            yield f"{address}: chunks overlap at byte {offset:,}"
        end = max(end, offset + length)
