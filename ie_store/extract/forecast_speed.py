"""How fast this machine is right now: tokens through the model, bytes to the disk."""

import math
import os
import tempfile
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ie_store.corpus.rows import Corpus
from ie_store.extract.engine import Engine
from ie_store.extract.forward.prefix_forward import TileForward
from ie_store.extract.forward.tiles import STEP_OVERHEAD, Tile
from ie_store.extract.work import WorkItem
from ie_store.specs import Level
from ie_store.store.files.protocol import Storage

_LEAST_SECONDS = 1.0
_MOST_REPEATS = 5
_PROBE_BYTES = 64 * 2**20


def cost(tiles: tuple[Tile, ...]) -> int:
    """What tiles cost, in tokens: those computed, and one step's overhead per batch."""
    return sum(tile.num_tokens + STEP_OVERHEAD * tile.num_batches for tile in tiles)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Measured on a few batches and one file."""

    cost_per_second: float
    """Tokens of `cost` through the model."""
    disk_bytes_per_second: float | None
    """None where the store is no local folder."""
    free_bytes: int | None
    """Room in the store, where it has an end."""


def measure_speed(engine: Engine, corpus: Corpus, items: tuple[WorkItem, ...], files: Storage) -> Speed:
    """Run a few batches of the last of ``items`` and write a file beside the store; nothing is measured without items."""
    local = items and files.storage_options is None
    return Speed(
        cost_per_second=_measure_items(engine, corpus, items) if items else math.inf,
        disk_bytes_per_second=measure_disk(files.address()) if local else None,
        free_bytes=files.free_bytes(),
    )


def _measure_items(engine: Engine, corpus: Corpus, items: tuple[WorkItem, ...]) -> float:
    work = sum(cost(item.tiles) for item in items)
    return measure_model(engine, items[-1].level, items[-1].rows(corpus)[0], enough=work // 4)


def measure_model(engine: Engine, level: Level, tokens: NDArray[np.int32], enough: int) -> float:
    """Tokens of cost per second: a few batches of rows ``tokens`` (row, position) are run, and their states dropped.

    ``enough`` tokens of cost end it too, so that measuring a short run does not take longer than the run.
    """
    rows = tokens[: 2 * engine.layout.rows_per_batch]
    _run(engine, level, rows[: max(1, len(rows) // 8)])
    start, repeats, tokens_of_cost = time.perf_counter(), 0, 0
    while repeats == 0 or (repeats < _MOST_REPEATS and tokens_of_cost < enough and time.perf_counter() - start < _LEAST_SECONDS):
        tokens_of_cost += _run(engine, level, rows)
        repeats += 1
    return tokens_of_cost / (time.perf_counter() - start)


def _run(engine: Engine, level: Level, rows: NDArray[np.int32]) -> int:
    """Run rows (row, position), and return what they cost."""
    tiles = engine.tiles(level, rows)
    for batches in engine.batches(level, rows, tiles):
        forward = TileForward(engine.model.decoder, batches, engine.model.device)
        for batch in batches.batches:
            forward.run(batch, lambda batch, layer, states: None)
    if engine.model.device.type == "cuda":
        torch.cuda.synchronize(engine.model.device)
    return cost(tiles)


def measure_disk(folder: str) -> float | None:
    """Bytes per second of a write with fsync to the disk that holds (or will hold) ``folder``; None where it cannot be tried.

    The file never has a name.
    """
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    data = np.random.default_rng(0).bytes(_PROBE_BYTES)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            start = time.perf_counter()
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            return _PROBE_BYTES / (time.perf_counter() - start)
    except OSError:
        return None
