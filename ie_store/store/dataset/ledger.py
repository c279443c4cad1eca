"""The ledger: which shards count, the checksum of each of their chunks, and which session wrote them.

Plain Zarr arrays in the group ``ledger``::

    macro          (macro_shard, layer, position)  crc32c of each inner chunk and its place, 0 where not stored
    micro          (micro_shard, layer)
    macro_session  (macro_shard)                   index into the attribute ``sessions``; likewise micro_session

One file per shard. A shard's checksums are written after its file is whole on disk: they are its commit mark, and a
shard without them does not count, whatever lies in its place. What is summed is `chunk_checksum`'s: with the encoded bytes
the dataset's identity and the chunk's place in it, so that no chunk passes for another one.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import REPAIR, StoreError
from ie_store.specs import Level, StoreLayout
from ie_store.store.files.protocol import Storage
from ie_store.store.format.arrays import ArrayTemplate, cell_grid, numpy_dtype, shard_key
from ie_store.store.format.attributes import LedgerAttributes
from ie_store.store.format.codec import crc32c
from ie_store.store.format.metadata import read_group, write_document, write_group
from ie_store.store.format.shard_index import Index, end_of_chunks, index_bytes, parse_index, require_within
from ie_store.store.format.small_arrays import with_checksum, without_checksum

LEVELS: tuple[Level, Level] = ("macro", "micro")


def chunk_checksum(dataset: str, level: Level, shard: int, cell: tuple[int, ...], encoded: Iterable[Any]) -> int:
    """What the ledger holds of a chunk: crc32c of ``DATASET/LEVEL/SHARD/LAYER/POSITION/`` in ASCII, then its encoded bytes.

    Args:
        dataset: digest of its identity, 64 hex digits.
        level: macro or micro, whose places have no position.
        shard: number of the shard.
        cell: (layer, position) or (layer,).
        encoded: the bytes in pieces, each taken when the one before is summed.
    """
    place = "/".join(map(str, (dataset, level, shard, *cell, "")))
    return crc32c(chain([place.encode()], encoded))


def ledger_templates(layout: StoreLayout) -> list[ArrayTemplate]:
    """The ledger's arrays."""
    return [template for level in LEVELS for template in (_checksums(layout, level), _sessions(layout, level))]


def _checksums(layout: StoreLayout, level: Level) -> ArrayTemplate:
    grid = cell_grid(layout, level)
    return ArrayTemplate(
        name=level,
        shape=(layout.num_shards(level), *grid),
        chunk_shape=(1, *grid),
        data_type="uint32",
        fill_value=0,
        dimensions=(f"{level}_shard", *("layer", "position")[: len(grid)]),
        attributes={
            "long_name": f"crc32c of each inner chunk of {level} and its place, 0 where not stored",
            "summed": f"'IDENTITY/{level}/SHARD/{'LAYER/POSITION' if level == 'macro' else 'LAYER'}/' and the encoded bytes; "
            "IDENTITY is the SHA-256 of the dataset's attribute identity in canonical JSON, 64 hex digits",
        },
    )


def _sessions(layout: StoreLayout, level: Level) -> ArrayTemplate:
    return ArrayTemplate(
        name=f"{level}_session",
        shape=(layout.num_shards(level),),
        chunk_shape=(1,),
        data_type="int32",
        fill_value=-1,
        dimensions=(f"{level}_shard",),
        attributes={"long_name": "session that wrote the shard: an index into the group's attribute sessions"},
    )


def write_empty_ledger(files: Storage, name: str, layout: StoreLayout) -> None:
    """Create the ledger of a new dataset."""
    for template in ledger_templates(layout):
        write_document(files, f"{name}/ledger/{template.name}", template.document())
    write_group(files, f"{name}/ledger", LedgerAttributes(), scratch=f"{name}/ledger/macro")


def add_session(files: Storage, name: str, session: dict[str, Any]) -> int:
    """Append to the sessions; its index."""
    sessions = (*_attributes(files, name).sessions, session)
    write_group(files, f"{name}/ledger", LedgerAttributes(sessions=sessions), scratch=f"{name}/ledger/macro")
    return len(sessions) - 1


def read_sessions(files: Storage, name: str) -> list[dict[str, Any]]:
    """The sessions that wrote shards."""
    return list(_attributes(files, name).sessions)


def _attributes(files: Storage, name: str) -> LedgerAttributes:
    found = read_group(files, f"{name}/ledger", LedgerAttributes)
    if found is None:
        raise StoreError(
            f"{files.address(name)}/ledger has no zarr.json: the dataset is damaged; restore the file, or remove the "
            "dataset with 'ie-store rm' and extract it again"
        )
    return found


def commit_key(name: str, level: Level, shard: int) -> str:
    """Key of a shard's commit mark."""
    return f"{name}/ledger/{level}/c/{shard}/{'0/0' if level == 'macro' else '0'}"


def revoke(files: Storage, name: str, level: Level, shard: int) -> None:
    """Take the commit mark away: the shard does not count any more."""
    files.delete(commit_key(name, level, shard))


def commit(files: Storage, name: str, level: Level, shard: int, checksums: NDArray[np.uint32], session: int) -> None:
    """Enter a shard whose file is on disk."""
    files.write_atomic(f"{name}/ledger/{level}_session/c/{shard}", [with_checksum(np.array([session], dtype="<i4"))])
    files.write_atomic(commit_key(name, level, shard), [with_checksum(checksums.astype("<u4"))])


def read_checksums(files: Storage, name: str, layout: StoreLayout, level: Level, shard: int) -> NDArray[np.uint32] | None:
    """crc32c of each chunk, (layer, position) or (layer,); None where the shard does not count.

    Raises:
        StoreError: the entry itself is damaged.
    """
    key = commit_key(name, level, shard)
    sealed = files.read(key)
    if sealed is None:
        return None
    grid = cell_grid(layout, level)
    raw = without_checksum(sealed, files.address(key))
    if len(raw) != 4 * int(np.prod(grid)):
        raise StoreError(f"{files.address(key)} is damaged: {len(raw)} bytes, {4 * int(np.prod(grid))} expected; {REPAIR}")
    return np.frombuffer(raw, dtype="<u4").reshape(grid)


def read_index(files: Storage, name: str, layout: StoreLayout, level: Level, shard: int) -> tuple[Index, int] | None:
    """Where the chunks of a shard lie, and the bytes of its file; None where there is no file.

    Raises:
        StoreError: the index is damaged, or names what is not in the file.
    """
    key, grid = shard_key(name, layout, level, shard), cell_grid(layout, level)
    size = files.size(key)
    if size is None:
        return None
    index = parse_index(files.read_suffix(key, index_bytes(grid)), grid, files.address(key))
    require_within(index, size, decoded_chunk_bytes(layout, level), files.address(key))
    return index, size


def decoded_chunk_bytes(layout: StoreLayout, level: Level) -> int:
    """Bytes of an inner chunk once it is decoded."""
    return layout.shard(level, 0).size * layout.hidden_size * numpy_dtype(layout.stored_dtype).itemsize


def missing_shards(files: Storage, name: str, layout: StoreLayout, level: Level) -> list[int]:
    """Shards that do not count: no commit mark, no file, or one of the two is not whole."""
    return [index for index in range(layout.num_shards(level)) if not _is_whole(files, name, layout, level, index)]


def _is_whole(files: Storage, name: str, layout: StoreLayout, level: Level, shard: int) -> bool:
    try:
        found = read_index(files, name, layout, level, shard)
        if found is None or read_checksums(files, name, layout, level, shard) is None:
            return False
    except StoreError:
        return False
    index, size = found
    return end_of_chunks(index) + index_bytes(cell_grid(layout, level)) == size
