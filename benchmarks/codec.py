"""Which codec for the inner chunks: ratio, encode and decode speed of one chunk, on one core.

    python benchmarks/codec.py [--rows 1024] [--hidden 576] [--rounds 9] [--store STORE --name MODEL/CORPUS] [--out FILE.json]

Chunks of float16 rows as they lie in sorted sequences: rows that repeat 22 and 506 times (the 25-name permutation corpus),
and rows that do not repeat; with ``--store``, chunks of a real dataset instead, at its first, middle and last position and
layer. ``ours`` is the store's own: Blosc where a chunk shrinks, the rows as they are behind Blosc's header where not.
``lz4`` alone is not in the Zarr v3 specification and stands for comparison.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray
from slab_read import keep

from ie_store.specs import Slab
from ie_store.store.format.codec import decode_chunk, encode_chunk
from ie_store.store.open import open_reader


@dataclass(frozen=True)
class Codec:
    encode: Callable[[NDArray[Any]], list[Any]]
    decode: Callable[[bytes, NDArray[Any]], Any]


def blosc_codec(compressor: bytes, level: int, block: int, item_bytes: int = 2) -> Codec:
    return Codec(lambda rows: [blosc.compress(rows, compressor, level, 0, block, item_bytes)], blosc.decompress)


def plain_codec(codec: Any) -> Codec:
    return Codec(lambda rows: [codec.encode(rows)], codec.decode)


def codecs() -> dict[str, Codec]:
    blosc.use_threads = False
    found = {
        "none": Codec(
            lambda rows: [rows.tobytes()], lambda held, out: np.copyto(out.reshape(-1), np.frombuffer(held, out.dtype))
        ),
        "ours": Codec(encode_chunk, lambda held, out: decode_chunk(np.frombuffer(held, np.uint8), out, "")),
    }
    for level in (1, 5, 9):
        for block in (0, 2**16, 2**18, 2**20):
            found[f"blosc lz4 level {level} block {block // 1024 or 'auto'}"] = blosc_codec(b"lz4", level, block)
    found["blosc lz4 level 5 block 256, one-byte items"] = blosc_codec(b"lz4", 5, 2**18, 1)
    found["blosc zstd level 1 block 256"] = blosc_codec(b"zstd", 1, 2**18)
    found["zstd level 1"] = plain_codec(numcodecs.Zstd(level=1))
    found["lz4 (not in the specification)"] = plain_codec(numcodecs.LZ4())
    return found


def synthetic_chunks(rows: int, hidden: int) -> dict[str, list[NDArray[Any]]]:
    random = np.random.default_rng(0)

    def chunk(repeats: int) -> NDArray[Any]:
        distinct = random.standard_normal((rows // repeats + 2, hidden)).astype(np.float16)
        start = int(random.integers(repeats))
        return np.ascontiguousarray(np.repeat(distinct, repeats, axis=0)[start : start + rows])

    return {f"{repeats} repeats": [chunk(repeats) for _ in range(8)] for repeats in (506, 22, 1)}


def stored_chunks(store: str, name: str) -> dict[str, list[NDArray[Any]]]:
    reader = open_reader(store, name)
    layers, positions = reader.layout.layers, reader.layout.positions
    found: dict[str, list[NDArray[Any]]] = {}
    size = reader.layout.rows_per_shard
    shards = sorted({0, reader.layout.num_sequences // size // 2, max(0, reader.layout.num_sequences // size - 1)})
    for position in sorted({positions[0], positions[len(positions) // 2], positions[-1]}):
        for layer in sorted({layers[0], layers[len(layers) // 2], layers[-1]}):
            slab = Slab(level="macro", layer=layer, position=position)
            ends = [(shard * size, min((shard + 1) * size, reader.layout.num_sequences)) for shard in shards]
            found[f"position {position}, layer {layer}"] = [reader.read_rows(slab, *end) for end in ends]
    return found


def measure(codec: Codec, chunks: list[NDArray[Any]], rounds: int) -> dict[str, float]:
    encoding, decoding = [], []
    raw = sum(chunk.nbytes for chunk in chunks)
    outs = [np.zeros_like(chunk) for chunk in chunks]
    held: list[bytes] = []
    for number in range(rounds + 1):
        start = time.perf_counter()
        pieces = [codec.encode(chunk) for chunk in chunks]
        middle = time.perf_counter()
        held = [b"".join(memoryview(piece).cast("B") for piece in parts) for parts in pieces]
        again = time.perf_counter()
        for encoded, out in zip(held, outs, strict=True):
            codec.decode(encoded, out)
        if number:  # the first round warms up
            encoding.append(raw / (middle - start) / 1e9)
            decoding.append(raw / (time.perf_counter() - again) / 1e9)
    if not all(np.array_equal(chunk.view("u1"), out.view("u1")) for chunk, out in zip(chunks, outs, strict=True)):
        raise ValueError("decoded rows differ from the encoded ones")
    speeds = {
        "encode_gigabytes_per_second": statistics.median(encoding),
        "decode_gigabytes_per_second": statistics.median(decoding),
    }
    return {"ratio": raw / sum(map(len, held)), **speeds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--hidden", type=int, default=576)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--store")
    parser.add_argument("--name")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    datasets = stored_chunks(options.store, options.name) if options.store else synthetic_chunks(options.rows, options.hidden)
    print(f"{'ratio, encode, decode GB/s':46}" + "".join(f"{name:>26}" for name in datasets))
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, codec in codecs().items():
        found[name] = {dataset: measure(codec, chunks, options.rounds) for dataset, chunks in datasets.items()}
        print(
            f"{name:46}"
            + "".join("".join(f"{value:9.2f}"[:9].rjust(9) for value in v.values())[1:] for v in found[name].values())
        )
    keep(options, codecs=found)


if __name__ == "__main__":
    main()
