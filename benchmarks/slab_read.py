"""Reading slabs: our direct reader and our Dask arrays against a memory map and zarr-python, in one run.

    python benchmarks/slab_read.py [--rows 131072] [--hidden 576] [--rounds 15] [--folder /tmp] [--out FILE.json]

Writes a small store of rows that no codec shrinks (float16, warm in the page cache), then reads the same slab by every way in
turn, round after round: ours verified against the ledger, as by default, and unverified; and the read of stage two, which looks
at every row, with and without the Dask task around it. Speeds are medians; ratios are medians of the ratios within a round, so
that a busy machine slows both sides alike.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr

import ie_store
from ie_store.estimate import read
from ie_store.estimate.stored_rows import Room
from ie_store.fingerprint import fingerprint
from ie_store.specs import CorpusSpec, DatasetIdentity, Level, ModelSpec, Slab, StoreLayout
from ie_store.store.dataset.writer import DatasetWriter, open_writer
from ie_store.store.open import open_reader

NAME = "model/random"
LAYERS, POSITIONS = 2, 2
SLAB = Slab(level="macro", layer=1, position=0)
LOOSE = ", unverified"
FINITE = np.uint16(0xBFFF)
"""Bits of random numbers that are left: no NaN, and nothing for a codec either."""
TASK, DIRECT = "stage two, Dask task", "stage two, direct"
BASELINES = {"memmap, reused": "memory map copied into a reused buffer", "memmap, new": "memory map copied into a new array"}


def open_random_store(
    store: str, rows: int, hidden: int, shard_rows: int, layers: int = LAYERS, positions: int = POSITIONS
) -> DatasetWriter:
    """The writer of an empty dataset."""
    layout = StoreLayout(
        num_layers=layers, num_positions=positions, num_sequences=rows, num_tokens=1, hidden_size=hidden,
        stored_dtype="float16", layers=tuple(range(layers)), positions=tuple(range(positions)), rows_per_shard=shard_rows,
        tokens_per_shard=1, shards_per_group=1, rows_per_batch=1,
    )  # fmt: skip
    model = ModelSpec(
        id="random", revision=None, weights_digest="", tokenizer_digest=None, num_blocks=layers - 1, hidden_size=hidden,
        vocab_size=1, compute_dtype="float32", attention="none", bos="none",
    )  # fmt: skip
    tokens, source_row = np.zeros((rows, positions), np.int32), np.arange(rows)
    found = fingerprint(tokens, source_row, {})
    corpus = CorpusSpec(
        recipe="random", name="random", fingerprint=found, num_sequences=rows, num_positions=positions, complete=False
    )
    identity = DatasetIdentity(model=model, corpus_fingerprint=found, recipe="random", layout=layout)
    return open_writer(
        store, NAME, identity=identity, corpus=corpus, tokens=tokens, source_row=source_row,
        labels={}, session={},
    )  # fmt: skip


def write_store(store: str, rows: int, hidden: int, shard_rows: int) -> None:
    random = np.random.default_rng(0)
    with open_random_store(store, rows, hidden, shard_rows) as writer:
        layout = writer.layout
        levels: tuple[Level, Level] = ("micro", "macro")
        for level in levels:
            for index in writer.missing_shards(level):
                shard = layout.shard(level, index)
                cells = (LAYERS, POSITIONS) if level == "macro" else (LAYERS,)
                shape = (*cells, shard.stop - shard.start, hidden)
                writer.write_shard(shard, (random.integers(0, 2**16, shape, np.uint16) & FINITE).view(np.float16))
        writer.mark_complete({"rows": 1, "relative_error": {}})


def ways(store: str, memory: np.memmap) -> dict[str, Callable[[], Any]]:
    reader, loose = open_reader(store, NAME), open_reader(store, NAME, verify=False)
    out = np.empty(memory.shape, np.float16)
    array = zarr.open_group(f"{store}/{NAME}", mode="r")["macro"]
    lazy = ie_store.open_store(store, NAME).macro[SLAB.layer, SLAB.position].data
    room = Room(torch.device("cpu"))
    return {
        "memmap, reused": lambda: np.copyto(out, memory),
        "memmap, new": lambda: np.array(memory),
        "read_slab, reused": lambda: reader.read_slab(SLAB, out),
        "read_slab, reused, unverified": lambda: loose.read_slab(SLAB, out),
        "read_slab, new": lambda: reader.read_slab(SLAB),
        "read_slab, new, unverified": lambda: loose.read_slab(SLAB),
        "Dask, slab_array": lambda: reader.slab_array(SLAB).compute(),
        "Dask, slab_array, unverified": lambda: loose.slab_array(SLAB).compute(),
        "Dask, open_store": lambda: lazy.compute(),
        TASK: lambda: read.read_states(reader, SLAB, room),
        DIRECT: lambda: read._read(reader, SLAB, room),
        "zarr-python": lambda: array[SLAB.layer, SLAB.position],
    }


def measure(store: str, folder: str, rounds: int) -> dict[str, Any]:
    path = Path(folder) / "slab.npy"
    np.save(path, open_reader(store, NAME).read_slab(SLAB))
    memory = np.load(path, mmap_mode="r")
    calls = ways(store, memory)
    speeds: dict[str, list[float]] = {way: [] for way in calls}
    for number in range(rounds + 1):
        for way, call in list(calls.items())[:: 1 if number % 2 else -1]:  # what comes before leaves memory behind
            start = time.perf_counter()
            call()
            if number:  # the first round warms up
                speeds[way].append(memory.nbytes / (time.perf_counter() - start) / 1e9)

    def ratio(way: str, to: str) -> float:
        return statistics.median(mine / theirs for mine, theirs in zip(speeds[way], speeds[to], strict=True))

    def ratios(way: str) -> dict[str, float]:
        bases = {f"over {base}": base for base in (*BASELINES, "zarr-python")} | {"over unverified": way + LOOSE}
        bases |= {"over direct": DIRECT} if way == TASK else {}
        return {name: ratio(way, base) for name, base in bases.items() if base in speeds}

    return {way: {"gigabytes_per_second": statistics.median(values)} | ratios(way) for way, values in speeds.items()}


def slab_parser(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """Options of the benchmarks that read a slab of a small store."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=131072)
    parser.add_argument("--hidden", type=int, default=576)
    parser.add_argument("--shard-rows", type=int, default=1024, help="as for 31 layers and 8 positions of 576 dimensions")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--out", type=Path)
    return parser


def keep(options: argparse.Namespace, **found: Any) -> None:
    """Write what was found where ``--out`` says, with what was asked for and the machine."""
    if options.out:
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "system": platform.system()}
        asked = {key: value for key, value in vars(options).items() if key not in ("out", "folder", "store", "peak", "path")}
        options.out.write_text(json.dumps({"machine": machine, "options": asked, **found}, indent=1) + "\n")


def main() -> None:
    parser = slab_parser(__doc__, rounds=15)
    options = parser.parse_args()
    folder = tempfile.mkdtemp(dir=options.folder, prefix="slab_read-")
    try:
        write_store(f"{folder}/store", options.rows, options.hidden, options.shard_rows)
        found = measure(f"{folder}/store", folder, options.rounds)
    finally:
        shutil.rmtree(folder)
    heads = ["GB/s", *(f"/ {base}" for base in BASELINES), "/ zarr-python", "/ unverified", "/ direct"]
    print(f"{'':30}" + "".join(f"{head:>18}" for head in heads))
    for way, values in found.items():
        shown = [
            values.get(head.replace("/", "over"), values["gigabytes_per_second"] if head == "GB/s" else None) for head in heads
        ]
        print(f"{way:30}" + "".join(f"{'':18}" if value is None else f"{value:18.2f}" for value in shown))
    keep(options, ways=found)


if __name__ == "__main__":
    main()
