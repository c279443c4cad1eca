"""The ledger: which shards count, the checksum of each of their chunks, and which session wrote them.

Plain Zarr arrays in the group ``ledger``::

    macro          (macro_shard, layer, position)  crc32c of each inner chunk and its place, 0 where not stored
    micro          (micro_shard, layer)
    macro_session  (macro_shard)                   index into the attribute ``sessions``; likewise micro_session

One file per shard. A shard's checksums are written after its file is whole on disk: they are its commit mark, and a
shard without them does not count, whatever lies in its place. What is summed is a chunk's `chunk_label`, which names the
dataset's identity and the chunk's place in it, and its encoded bytes: so no chunk passes for another one.
"""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import REPAIR, StoreError
from ie_store.specs import LEVELS, Level, LevelLayout, StoreLayout
from ie_store.store.dataset.handle import Dataset
from ie_store.store.files.protocol import Storage
from ie_store.store.format.arrays import ArrayTemplate
from ie_store.store.format.attributes import LedgerAttributes
from ie_store.store.format.metadata import read_group, write_document, write_group
from ie_store.store.format.shard_index import Index, end_of_chunks, index_bytes, parse_index, require_within
from ie_store.store.format.small_arrays import with_checksum, without_checksum


def chunk_label(dataset: str, level: Level, shard: int, cell: tuple[int, ...]) -> bytes:
    """What is summed before a chunk's encoded bytes: ``DATASET/LEVEL/SHARD/LAYER/POSITION/`` in ASCII.

    Args:
        dataset: digest of its identity, 64 hex digits.
        level: macro or micro, whose places have no position.
        shard: number of the shard.
        cell: (layer, position) or (layer,).
    """
    return f"{dataset}/{level}/{shard}/{'/'.join(map(str, cell))}/".encode()


def ledger_templates(layout: StoreLayout) -> list[ArrayTemplate]:
    """The ledger's arrays."""
    levels = [layout.level(level) for level in LEVELS]
    return [template for states in levels for template in (_checksums(states), _sessions(states))]


def _checksums(states: LevelLayout) -> ArrayTemplate:
    level = states.level
    return ArrayTemplate(
        name=level,
        shape=(states.num_shards, *states.grid),
        chunk_shape=(1, *states.grid),
        data_type="uint32",
        fill_value=0,
        dimensions=(f"{level}_shard", *states.axes),
        attributes={
            "long_name": f"crc32c of each inner chunk of {level} and its place, 0 where not stored",
            "summed": f"'IDENTITY/{level}/SHARD/{'/'.join(states.axes).upper()}/' and the encoded bytes; "
            "IDENTITY is the SHA-256 of the dataset's attribute identity in canonical JSON, 64 hex digits",
        },
    )


def _sessions(states: LevelLayout) -> ArrayTemplate:
    return ArrayTemplate(
        name=f"{states.level}_session",
        shape=(states.num_shards,),
        chunk_shape=(1,),
        data_type="int32",
        fill_value=-1,
        dimensions=(f"{states.level}_shard",),
        attributes={"long_name": "session that wrote the shard: an index into the group's attribute sessions"},
    )


def write_empty_ledger(files: Storage, name: str, layout: StoreLayout) -> None:
    """Create the ledger of a new dataset."""
    for template in ledger_templates(layout):
        write_document(files, f"{name}/ledger/{template.name}", template.document())
    write_group(files, f"{name}/ledger", LedgerAttributes(), scratch=f"{name}/ledger/macro")


def add_session(dataset: Dataset, session: dict[str, Any]) -> int:
    """Append to the sessions; its index."""
    sessions = (*_attributes(dataset).sessions, session)
    attributes = LedgerAttributes(sessions=sessions)
    write_group(dataset.files, dataset.key("ledger"), attributes, scratch=dataset.key("ledger/macro"))
    return len(sessions) - 1


def read_sessions(dataset: Dataset) -> list[dict[str, Any]]:
    """The sessions that wrote shards."""
    return list(_attributes(dataset).sessions)


SESSION_BYTES = 8
"""A number and its checksum."""


def session_fault(dataset: Dataset, level: Level, shard: int) -> str | None:
    """What is wrong with the number of the session that wrote a shard; None where it is as it was written."""
    key = dataset.key(f"ledger/{level}_session/c/{shard}")
    try:
        chunk = dataset.files.read(key, SESSION_BYTES)
        if chunk is None:
            return f"{dataset.files.address(key)} is missing; {REPAIR}"
        without_checksum(chunk, dataset.files.address(key))
    except StoreError as error:
        return str(error)
    return None


def _attributes(dataset: Dataset) -> LedgerAttributes:
    found = read_group(dataset.files, dataset.key("ledger"), LedgerAttributes)
    if found is None:
        raise StoreError(
            f"{dataset.address_of('ledger')} has no zarr.json: the dataset is damaged; restore the file, or remove the "
            "dataset with 'ie-store rm' and extract it again"
        )
    return found


def revoke(dataset: Dataset, level: Level, shard: int) -> None:
    """Take the commit mark away: the shard does not count any more."""
    dataset.files.delete(dataset.key(dataset.layout.level(level).commit_key(shard)))


def commit(dataset: Dataset, level: Level, shard: int, checksums: NDArray[np.uint32], session: int) -> None:
    """Enter a shard whose file is on disk."""
    files, states = dataset.files, dataset.layout.level(level)
    session_key = dataset.key(f"ledger/{level}_session/c/{shard}")
    files.write_atomic(session_key, [with_checksum(np.array([session], dtype="<i4"))])
    files.write_atomic(dataset.key(states.commit_key(shard)), [with_checksum(checksums.astype("<u4"))])


def read_checksums(dataset: Dataset, level: Level, shard: int) -> NDArray[np.uint32] | None:
    """crc32c of each chunk, (layer, position) or (layer,); None where the shard does not count.

    Raises:
        StoreError: the entry itself is damaged.
    """
    states = dataset.layout.level(level)
    key = states.commit_key(shard)
    sealed = dataset.files.read(dataset.key(key))
    if sealed is None:
        return None
    raw, expected = without_checksum(sealed, dataset.address_of(key)), 4 * prod(states.grid)
    if len(raw) != expected:
        raise StoreError(f"{dataset.address_of(key)} is damaged: {len(raw)} bytes, {expected} expected; {REPAIR}")
    return np.frombuffer(raw, dtype="<u4").reshape(states.grid)


def read_index(dataset: Dataset, level: Level, shard: int) -> tuple[Index, int] | None:
    """Where the chunks of a shard lie, and the bytes of its file; None where there is no file.

    Raises:
        StoreError: the index is damaged, or names what is not in the file.
    """
    states = dataset.layout.level(level)
    key, where = dataset.key(states.shard_key(shard)), dataset.address_of(states.shard_key(shard))
    size = dataset.files.size(key)
    if size is None:
        return None
    index = parse_index(dataset.files.read_suffix(key, index_bytes(states.grid)), states.grid, where)
    require_within(index, size, states.chunk_bytes, where)
    return index, size


def missing_shards(dataset: Dataset, level: Level) -> list[int]:
    """Shards that do not count: no commit mark, no file, or one of the two is not whole."""
    return [shard for shard in range(dataset.layout.num_shards(level)) if not is_whole(dataset, level, shard)]


def is_whole(dataset: Dataset, level: Level, shard: int) -> bool:
    """True for a shard that counts: a commit mark and a file, both whole."""
    try:
        found = read_index(dataset, level, shard)
        if found is None or read_checksums(dataset, level, shard) is None:
            return False
    except StoreError:
        return False
    index, size = found
    return end_of_chunks(index) + index_bytes(dataset.layout.level(level).grid) == size
