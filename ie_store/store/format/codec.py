"""The codec of the inner chunks, in one place: Blosc with lz4, no shuffle, in blocks of 256 KiB.

Chosen by ``benchmarks/codec.py``: it removes rows that repeat their neighbour, and a chunk that does not shrink is
stored as it is behind Blosc's 16-byte header, so that writing and reading it need no copy of ours. Any Zarr v3 reader
decodes both forms.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numcodecs.blosc
import numpy as np
from numpy.typing import NDArray

from ie_store.errors import REPAIR, StoreError
from ie_store.store.format.array_document import Codec, is_little

CODEC_NAME = "lz4"
LEVEL = 5
BLOCK_BYTES = 2**18
HEADER_BYTES = 16
_PROBE_ROWS = 8
_VERBATIM = 2
_HEADER = struct.Struct("<BBBBIII")

numcodecs.blosc.use_threads = False  # one context per call: safe in our own threads and after fork


def codec_document(item_bytes: int) -> list[dict[str, Any]]:
    """The ``codecs`` of an inner chunk, as in ``zarr.json``."""
    blosc = {"typesize": item_bytes, "cname": CODEC_NAME, "clevel": LEVEL, "shuffle": "noshuffle", "blocksize": BLOCK_BYTES}
    return [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "blosc", "configuration": blosc}]


def require_readable(codecs: Sequence[Codec], where: str) -> None:
    """Raise `StoreError` unless inner chunks are little-endian bytes in Blosc, of any compressor and setting."""
    names = [codec.name for codec in codecs]
    if names != ["bytes", "blosc"] or not is_little(codecs[0]):
        raise StoreError(
            f"{where}: inner chunks are encoded as {' + '.join(names)}; "
            "the slab reader reads little-endian bytes + blosc: open it with xarray.open_zarr instead"
        )


def encode_chunk(rows: NDArray[Any]) -> list[Any]:
    """The buffers (one or two) that together are the encoded chunk of C-contiguous ``rows`` (row, hidden)."""
    if not _shrinks(rows):
        return [_verbatim_header(rows), rows]
    return [numcodecs.blosc.compress(rows, CODEC_NAME.encode(), LEVEL, 0, BLOCK_BYTES, rows.dtype.itemsize)]


def _shrinks(rows: NDArray[Any]) -> bool:
    """True where a row begins like the row above, or where the first rows shrink by themselves."""
    width = min(rows.shape[1], 8)
    if bool((rows[1:, :width].view(f"u{rows.itemsize}") == rows[:-1, :width].view(f"u{rows.itemsize}")).all(axis=1).any()):
        return True
    probe = rows[:_PROBE_ROWS]
    return len(numcodecs.blosc.compress(probe, CODEC_NAME.encode(), LEVEL, 0, 0, rows.dtype.itemsize)) < 0.95 * probe.nbytes


def _verbatim_header(rows: NDArray[Any]) -> bytes:
    """Blosc's header of a chunk stored as it is (flag 2): version 2, lz4 format 1, sizes."""
    block = min(BLOCK_BYTES, rows.nbytes)
    return _HEADER.pack(2, 1, _VERBATIM | (1 << 5), rows.itemsize, rows.nbytes, block, rows.nbytes + HEADER_BYTES)


def is_verbatim(header: bytes | memoryview, raw_bytes: int) -> bool:
    """True where a Blosc header says that ``raw_bytes`` bytes follow as they are."""
    _, _, flags, _, size, _, encoded = _HEADER.unpack(header)
    return bool(flags & _VERBATIM) and size == raw_bytes and encoded == raw_bytes + HEADER_BYTES


def decode_chunk(encoded: NDArray[np.uint8], out: NDArray[Any], where: str) -> None:
    """Decode a chunk into C-contiguous ``out``; `StoreError` where it does not decode to exactly that many bytes."""
    header = _HEADER.unpack(bytes(encoded[:HEADER_BYTES])) if len(encoded) >= HEADER_BYTES else (0,) * 7
    if header[4] != out.nbytes or header[6] != len(encoded):
        raise StoreError(
            f"{where}: chunk header says {header[6]:,} bytes that decode to {header[4]:,}, "
            f"found {len(encoded):,} that should decode to {out.nbytes:,}; {REPAIR}"
        )
    try:
        numcodecs.blosc.decompress(encoded, out)
    except (RuntimeError, ValueError) as error:
        raise StoreError(f"{where}: chunk does not decode ({error}); {REPAIR}") from error
