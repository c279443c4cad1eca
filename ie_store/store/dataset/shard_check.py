"""Checking the shards of a dataset, chunk by chunk, against its ledger; and metadata of arrays against what they must be."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import StoreError
from ie_store.options import OnProgress, Progress
from ie_store.specs import DatasetIdentity, Level, digest
from ie_store.store.dataset.ledger import (
    LEVELS,
    chunk_checksum,
    decoded_chunk_bytes,
    read_checksums,
    read_index,
)
from ie_store.store.files.protocol import Storage
from ie_store.store.format.arrays import (
    NOT_STORED,
    ArrayTemplate,
    cell_grid,
    shard_key,
    stored_cells,
)
from ie_store.store.format.shard_index import Index, end_of_chunks, index_bytes, most_shard_bytes, place_of


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

    def __init__(self, files: Storage, name: str, identity: DatasetIdentity, on_progress: OnProgress) -> None:
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
