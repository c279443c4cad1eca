"""The codec against numcodecs and zarr-python."""

import google_crc32c
import numcodecs.blosc
import numpy as np
import pytest

from ie_store.errors import StoreError
from ie_store.store.files.checksum import crc32c
from ie_store.store.format.array_document import Codec
from ie_store.store.format.codec import BLOCK_BYTES, LEVEL, decode_chunk, encode_chunk, require_readable


def joined(pieces):
    return b"".join(bytes(memoryview(piece).cast("B")) for piece in pieces)


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint16"])
@pytest.mark.parametrize("rows", [1, 8, 1024])
def test_rows_without_repeats_are_stored_as_blosc_itself_stores_them(dtype, rows):
    raw = np.random.default_rng(0).integers(0, 256, (rows, 576 * np.dtype(dtype).itemsize), np.uint8).view(dtype)
    expected = numcodecs.blosc.compress(raw, b"lz4", LEVEL, 0, BLOCK_BYTES, raw.itemsize)
    pieces = encode_chunk(raw)
    assert len(pieces) == 2
    assert pieces[1] is raw
    assert joined(pieces)[16:] == expected[16:]
    assert np.array_equal(
        np.frombuffer(numcodecs.blosc.decompress(joined(pieces)), raw.dtype).view("u1"), raw.reshape(-1).view("u1")
    )
    mine, theirs = joined(pieces)[:16], expected[:16]
    assert (mine[0], mine[3], mine[4:8], mine[12:]) == (theirs[0], theirs[3], theirs[4:8], theirs[12:])


@pytest.mark.parametrize("repeats", [2, 22, 506])
def test_repeated_rows_are_removed(repeats):
    rows = np.repeat(np.random.default_rng(1).standard_normal((1 + 1024 // repeats, 576)), repeats, axis=0)[:1024]
    rows = rows.astype(np.float16)
    encoded = joined(encode_chunk(rows))
    assert len(encoded) < 1.5 * rows.nbytes / min(repeats, 30)
    out = np.empty_like(rows)
    decode_chunk(np.frombuffer(encoded, np.uint8), out, "here")
    assert np.array_equal(out, rows)


def test_constant_rows_shrink():
    assert len(joined(encode_chunk(np.full((1, 4096), 1.5, np.float16)))) < 200


@pytest.mark.parametrize("damage", ["short", "header", "body"])
def test_damaged_chunk_is_an_error(damage):
    rows = np.zeros((64, 64), np.float32)
    encoded = np.frombuffer(joined(encode_chunk(rows)), np.uint8).copy()
    if damage == "short":
        encoded = encoded[:-1]
    elif damage == "header":
        encoded[4] ^= 1
    else:
        encoded[16:] ^= 0xFF
    with pytest.raises(StoreError, match="here: chunk"):
        decode_chunk(encoded, np.empty_like(rows), "here")


def test_crc32c_of_the_published_check_value():
    assert crc32c([b"1234", np.frombuffer(b"56789", np.uint8)]) == 0xE3069283


@pytest.mark.parametrize(
    "codecs",
    [
        [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "blosc"}],
        [{"name": "bytes"}, {"name": "zstd"}],
        [{"name": "bytes"}],
        [],
    ],
)
def test_other_codecs_are_refused_by_name(codecs):
    with pytest.raises(StoreError, match=r"slab reader reads little-endian bytes \+ blosc"):
        require_readable([Codec(**codec) for codec in codecs], "array")


@pytest.mark.parametrize("sizes", [(5000,), (5000, 4096), (3, 5000, 4, 4095, 4097, 2), (4095, 4095), (5000, 7), (0, 5000, 0), ()])
def test_crc32c_of_short_and_long_pieces_is_that_of_all_in_one(sizes):
    pieces = [np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8) for size in sizes]
    assert crc32c(pieces) == google_crc32c.value(b"".join(piece.tobytes() for piece in pieces))
