"""How fast this machine is right now: tokens through the model, bytes to the disk."""

import math
import os
import tempfile
import time
from dataclasses import dataclass
from typing import NamedTuple

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
_LEAST_PROBE_BYTES, _MOST_PROBE_BYTES = 2**20, 64 * 2**20


def cost(tiles: tuple[Tile, ...]) -> int:
    """What tiles cost, in tokens: those computed, and one step's overhead per batch."""
    return sum(tile.num_tokens + STEP_OVERHEAD * tile.num_batches for tile in tiles)


@dataclass(frozen=True, kw_only=True)
class ModelSpeed:
    """Tokens of `cost` through the model per second, measured on a few batches."""

    mean: float
    lowest: float
    """Of a single measurement."""
    alone: float
    """With the machine to itself: of the best measurement, or, on a CPU, by the processor time of all."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Measured on a few batches and one file."""

    model: ModelSpeed
    disk_bytes_per_second: float | None
    """None where the store is no local folder."""
    free_bytes: int | None
    """Room in the store, where it has an end."""


def measure_speed(engine: Engine, corpus: Corpus, items: tuple[WorkItem, ...], files: Storage) -> Speed:
    """Run a few batches of the last of ``items`` and write a file beside the store; nothing is measured without items."""
    local = items and files.storage_options is None
    return Speed(
        model=_measure_items(engine, corpus, items) if items else ModelSpeed(mean=math.inf, lowest=math.inf, alone=math.inf),
        disk_bytes_per_second=measure_disk(files.address(), _dense_bytes(engine, items)) if local else None,
        free_bytes=files.free_bytes(),
    )


def _dense_bytes(engine: Engine, items: tuple[WorkItem, ...]) -> int:
    """Bytes of the states that ``items`` write, before any codec."""
    levels = [engine.layout.level(item.level) for item in items]
    return sum(
        len(item.shards) * states.chunk_bytes * len(states.stored_cells) for item, states in zip(items, levels, strict=True)
    )


def _measure_items(engine: Engine, corpus: Corpus, items: tuple[WorkItem, ...]) -> ModelSpeed:
    work = sum(cost(item.tiles) for item in items)
    return measure_model(engine, items[-1].level, items[-1].rows(corpus)[0], enough=work // 4)


def measure_model(engine: Engine, level: Level, tokens: NDArray[np.int32], enough: int) -> ModelSpeed:
    """Run a few batches of rows ``tokens`` (row, position) and drop their states.

    ``enough`` tokens of cost end it too, so that measuring a short run does not take longer than the run.
    """
    rows = tokens[: 2 * engine.layout.rows_per_batch]
    _run(engine, level, rows[: max(1, len(rows) // 8)])
    timings: list[Timing] = []
    while not timings or (
        len(timings) < _MOST_REPEATS and sum(t.cost for t in timings) < enough and sum(t.wall for t in timings) < _LEAST_SECONDS
    ):
        wall, processor = time.perf_counter(), time.process_time()
        done = _run(engine, level, rows)
        timings.append(Timing(done, time.perf_counter() - wall, time.process_time() - processor))
    return summarise(timings, torch.get_num_threads() if engine.model.device.type == "cpu" else None)


class Timing(NamedTuple):
    """One measurement: tokens of cost, and the seconds they took."""

    cost: int
    wall: float
    processor: float
    """Of all threads together."""


def summarise(timings: list[Timing], num_threads: int | None) -> ModelSpeed:
    """The speed that measurements tell; on a CPU with the ``num_threads`` of the model, None elsewhere.

    Where other processes take part of the machine, a thread's processor time stands still while it waits for its turn: divided by
    the number of threads it is what the wall would show if they were gone.
    """
    rates, total = [t.cost / t.wall for t in timings], sum(t.cost for t in timings)
    alone = max(rates)
    if num_threads is not None:
        alone = max(alone, total * num_threads / max(sum(t.processor for t in timings), 1e-9))
    return ModelSpeed(mean=total / sum(t.wall for t in timings), lowest=min(rates), alone=alone)


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


def measure_disk(folder: str, enough: int) -> float | None:
    """Bytes per second of a write with fsync to the disk that holds (or will hold) ``folder``; None where it cannot be tried.

    ``enough`` bytes end it too, so that measuring a short run writes no more than the run. The file never has a name.
    """
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    data = np.random.default_rng(0).bytes(min(max(enough, _LEAST_PROBE_BYTES), _MOST_PROBE_BYTES))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            start = time.perf_counter()
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            return len(data) / (time.perf_counter() - start)
    except OSError:
        return None
