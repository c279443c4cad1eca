"""The small arrays of a store, one plain chunk (or a few along the first axis) each: bytes and a crc32c."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import REPAIR, StoreError
from ie_store.grid import ceil_div, row_range
from ie_store.store.files.checksum import crc32c
from ie_store.store.files.protocol import Storage
from ie_store.store.format.array_document import ArrayDocument
from ie_store.store.format.arrays import ArrayTemplate
from ie_store.store.format.metadata import require_array, write_document


def with_checksum(values: NDArray[Any]) -> bytes:
    """A plain chunk as it lies on disk: little-endian bytes and their crc32c."""
    raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
    return raw + crc32c([raw]).to_bytes(4, "little")


def without_checksum(chunk: bytes, where: str) -> bytes:
    """The bytes of a plain chunk without their checksum; `StoreError` where it does not match."""
    if len(chunk) < 4 or crc32c([chunk[:-4]]) != int.from_bytes(chunk[-4:], "little"):
        raise StoreError(f"{where} is damaged: its checksum does not match; {REPAIR}")
    return chunk[:-4]


def write_plain(files: Storage, group: str, template: ArrayTemplate, values: NDArray[Any]) -> None:
    """Write a whole array below ``group``: its metadata, which say whose it is, then its chunks."""
    key, rows = f"{group}/{template.name}", template.chunk_shape[0]
    write_document(files, key, template.document())
    for index in range(ceil_div(template.shape[0], rows)):
        chunk = np.zeros(template.chunk_shape, dtype=values.dtype)
        found = row_range(index, rows, template.shape[0])
        chunk[: len(found)] = values[found.start : found.stop]
        files.write_atomic(f"{key}/{_chunk_name(index, values.ndim)}", [with_checksum(chunk)])


def read_plain(files: Storage, key: str, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """All values of a small array, whose shape must be ``shape`` where given.

    Raises:
        StoreError: missing, damaged, of another shape, or not written by us.
    """
    found = require_array(files, key)
    if not found.is_plain:
        raise StoreError(
            f"{files.address(key)} was rewritten by another program: its codecs are {[codec.name for codec in found.codecs]}; "
            f"{REPAIR}"
        )
    if shape is not None and found.shape != shape:
        raise StoreError(f"{files.address(key)}/zarr.json declares shape {found.shape}, {shape} is expected; {REPAIR}")
    return _read_chunks(files, key, found)


def _read_chunks(files: Storage, key: str, found: ArrayDocument) -> NDArray[Any]:
    """All chunks, each found to have the size that is declared before memory is spent on the next."""
    dtype, rows = np.dtype(found.data_type).newbyteorder("<"), found.chunk_shape[0]
    if found.shape == (0,):
        return np.empty(0, dtype)
    if rows < 1 or found.chunk_shape[1:] != found.shape[1:] or 0 in found.shape:
        raise StoreError(f"{files.address(key)} of shape {found.shape} is cut into {found.chunk_shape}: it is not ours; {REPAIR}")
    chunks = [_read_chunk(files, key, i, found.chunk_shape, dtype) for i in range(ceil_div(found.shape[0], rows))]
    return (chunks[0] if len(chunks) == 1 else np.concatenate(chunks))[: found.shape[0]]


def _read_chunk(files: Storage, key: str, index: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    chunk_key = f"{key}/{_chunk_name(index, len(shape))}"
    chunk = files.read(chunk_key, math.prod(shape) * dtype.itemsize + 4)
    if chunk is None:
        raise StoreError(f"{files.address(chunk_key)} is missing: the dataset is damaged; {REPAIR}")
    raw = without_checksum(chunk, files.address(chunk_key))
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise StoreError(f"{files.address(chunk_key)} has {len(raw):,} bytes, {math.prod(shape) * dtype.itemsize:,} are expected")
    return np.frombuffer(raw, dtype=dtype).reshape(shape)


def _chunk_name(index: int, num_dimensions: int) -> str:
    return "/".join(["c", str(index), *["0"] * (num_dimensions - 1)])
