"""Checking the shards of a dataset, chunk by chunk, against its ledger; and metadata of arrays against what they must be."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import StoreError
from ie_store.levels import LEVELS, Level, LevelLayout, place_of
from ie_store.options import OnProgress, Progress
from ie_store.store.dataset.handle import Dataset
from ie_store.store.dataset.ledger import chunk_label, read_checksums, read_index, session_fault
from ie_store.store.files.checksum import crc32c
from ie_store.store.format.arrays import NOT_STORED, ArrayTemplate
from ie_store.store.format.shard_index import Index, end_of_chunks, index_bytes, most_shard_bytes


def differing(document: dict[str, Any], template: ArrayTemplate) -> list[str]:
    """Fields of an array's ``zarr.json`` that do not follow from its template."""
    fields = ("node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "dimension_names")
    expected = template.document()
    differing = [field for field in fields if document.get(field) != expected[field]]
    found, wanted = ((d.get("codecs") or [{}])[0] for d in (document, expected))
    inner = [codec.get("configuration", {}).get("chunk_shape") for codec in (found, wanted)]
    return differing + (["codecs"] if found.get("name") != wanted.get("name") or inner[0] != inner[1] else [])


class ShardCheck:
    """Walks the shards of a dataset chunk by chunk and counts what it has seen."""

    def __init__(self, dataset: Dataset, on_progress: OnProgress) -> None:
        self.num_shards = self.num_chunks = self.num_bytes = 0
        self._dataset, self._on_progress = dataset, on_progress
        self._levels = [dataset.layout.level(level) for level in LEVELS]
        self._total = sum(states.num_shards * len(states.stored_cells) for states in self._levels)

    def faults(self, level: Level, shard: int) -> list[str] | None:
        """What is wrong with a shard that the ledger says is written; None where it says nothing."""
        try:
            checksums = read_checksums(self._dataset, level, shard)
            return None if checksums is None else list(self._faults(level, shard, checksums))
        except StoreError as error:
            return [f"{place_of(level, shard=shard)}: {error}"]

    def all_faults(self) -> Iterator[str]:
        """Faults of all shards; those not written are told in one sentence."""
        complete = self._dataset.attributes.complete
        for states in self._levels:
            unwritten = 0
            for shard in range(states.num_shards):
                found = self.faults(states.level, shard)
                unwritten += found is None
                yield from found or []
            if unwritten:
                told = "though the dataset says that it is complete" if complete else "yet: run the same extract command again"
                yield f"{unwritten} of {states.num_shards} {states.level} shards are not written {told}"

    def _faults(self, level: Level, shard: int, checksums: NDArray[np.uint32]) -> Iterator[str]:
        states = self._dataset.layout.level(level)
        address, name = self._dataset.address_of(states.shard_key(shard)), place_of(level, shard=shard)
        found = read_index(self._dataset, level, shard)
        if found is None:
            raise StoreError(f"{address} is missing")
        index, size = found
        expected = end_of_chunks(index) + index_bytes(states.grid)
        self.num_shards += 1
        if fault := session_fault(self._dataset, level, shard):
            yield fault
        if size != expected:
            yield f"{address}: {name} has {size:,} bytes, its index says {expected:,}"
        yield from _index_faults(index, states, address)
        if expected <= most_shard_bytes(states.grid, states.chunk_bytes):
            yield from self._chunk_faults(states, shard, index, checksums)
        else:
            yield f"{address}: {name} has gaps between its chunks"

    def _chunk_faults(self, states: LevelLayout, shard: int, index: Index, checksums: NDArray[np.uint32]) -> Iterator[str]:
        dataset, key = self._dataset, states.shard_key(shard)
        whole = np.empty(end_of_chunks(index), np.uint8)  # read at once: disks like long reads
        dataset.files.read_into(dataset.key(key), 0, [whole.data])
        for cell in states.stored_cells:
            offset, length = map(int, index[cell])
            if offset == NOT_STORED:
                continue
            encoded = whole[offset : offset + length]
            if crc32c([chunk_label(dataset.identity_digest, states.level, shard, cell), encoded]) != checksums[cell]:
                where = f"{dataset.address_of(key)}: {place_of(states.level, cell, shard)}"
                yield f"{where} is damaged (crc32c) or belongs elsewhere"
            self.num_chunks += 1
            self.num_bytes += length
            self._on_progress(
                Progress(stage="verify", done=self.num_chunks, total=self._total, unit="chunks", num_bytes=self.num_bytes)
            )


def _index_faults(index: Index, states: LevelLayout, address: str) -> Iterator[str]:
    cells, level = states.stored_cells, states.level
    present = {cell for cell in np.ndindex(*index.shape[:-1]) if index[cell][0] != NOT_STORED}
    if lacking := sorted(set(cells) - present):
        yield f"{address}: its index lacks {len(lacking)} chunks, the first {place_of(level, lacking[0])}"
    if strange := sorted(present - set(cells)):
        first = place_of(level, strange[0])
        yield f"{address}: its index holds {len(strange)} chunks that are not of this dataset, the first {first}"
    extents = sorted((int(index[cell][0]), int(index[cell][1])) for cell in present)
    end = 0
    for offset, length in extents:
        if offset < end:
            yield f"{address}: chunks overlap at byte {offset:,}"
        end = max(end, offset + length)
