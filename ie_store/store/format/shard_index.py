"""The index at the end of a shard's file: where each inner chunk lies. Pure values, no input or output.

::

    chunk | padding | chunk | ... | index: (offset, bytes) as two uint64 per inner chunk, C order | crc32c of the index, uint32
"""

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import REPAIR, StoreError
from ie_store.store.files.checksum import crc32c
from ie_store.store.format.arrays import NOT_STORED
from ie_store.store.format.codec import HEADER_BYTES

CHUNK_ALIGNMENT = 64
"""Our chunks start at multiples of this: a stored-as-it-is chunk then lies, behind its 16-byte header, where the kernel copies
it fastest into memory from numpy or torch (measured: 9.6 against 4.9 to 7.7 GB/s where the two are out of step)."""
Index = NDArray[np.uint64]
"""(layer, position, 2) for macro, (layer, 2) for micro: offset and length in bytes; NOT_STORED twice where absent."""


def index_bytes(grid: tuple[int, ...]) -> int:
    """Length in bytes of the index and its checksum."""
    return int(np.prod(grid)) * 16 + 4


def empty_index(grid: tuple[int, ...]) -> Index:
    """An index without chunks."""
    return np.full((*grid, 2), NOT_STORED, dtype="<u8")


def pack_index(index: Index) -> bytes:
    """The last bytes of a shard's file."""
    raw = index.astype("<u8").tobytes()
    return raw + crc32c([raw]).to_bytes(4, "little")


def parse_index(suffix: bytes, grid: tuple[int, ...], where: str) -> Index:
    """The index in the last bytes of a shard's file.

    Raises:
        StoreError: too few bytes, or the checksum does not match.
    """
    wanted = index_bytes(grid)
    if len(suffix) < wanted:
        raise StoreError(f"{where} is truncated: its index needs {wanted:,} bytes, the whole file has {len(suffix):,}")
    if crc32c([suffix[-wanted:-4]]) != int.from_bytes(suffix[-4:], "little"):
        raise StoreError(f"{where}: the checksum of its index does not match: the file is truncated or damaged; {REPAIR}")
    return np.frombuffer(suffix[-wanted:-4], dtype="<u8").reshape(*grid, 2)


def require_within(index: Index, num_bytes: int, chunk_bytes: int, where: str) -> None:
    """Raise `StoreError` where a chunk lies outside a file, or is longer than anything that encodes a chunk can be.

    Args:
        index: of the file.
        num_bytes: of the file, index included.
        chunk_bytes: of a chunk, decoded.
        where: the file, for the message.
    """
    present = index[(index != NOT_STORED).any(axis=-1)]
    room = np.uint64(max(0, num_bytes - index_bytes(index.shape[:-1])))
    longest = np.uint64(chunk_bytes + HEADER_BYTES)
    offsets, lengths = present[..., 0], present[..., 1]
    wrong = np.flatnonzero((lengths > longest) | (lengths > room) | (offsets > room - np.minimum(lengths, room)))
    if len(wrong):
        offset, length = present[wrong[0]].tolist()
        raise StoreError(
            f"{where}: its index names a chunk of {length:,} bytes at byte {offset:,}; a chunk has at most {longest:,} bytes and "
            f"the chunks end at byte {room:,}: the file is truncated or damaged; {REPAIR}"
        )


def most_shard_bytes(grid: tuple[int, ...], chunk_bytes: int) -> int:
    """More bytes than any shard's file can have whose chunks lie one after another."""
    return int(np.prod(grid)) * (chunk_bytes + HEADER_BYTES + CHUNK_ALIGNMENT) + index_bytes(grid)


def end_of_chunks(index: Index) -> int:
    """First byte after the last chunk."""
    present = index[index[..., 0] != NOT_STORED]
    return int(present.sum(axis=-1).max()) if len(present) else 0
