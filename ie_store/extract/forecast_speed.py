"""How fast this machine is right now: tokens through the model, bytes to the disk."""

import os
import tempfile
import time
from dataclasses import dataclass

import numpy as np
import torch

from ie_store.extract.forward.batches import STEP_OVERHEAD, TileBatches
from ie_store.extract.forward.group import Engine
from ie_store.extract.forward.prefix_forward import TileForward
from ie_store.extract.work import WorkItem

_LEAST_SECONDS = 1.0
_MOST_REPEATS = 5
_PROBE_BYTES = 64 * 2**20


def cost(blocks: list[TileBatches]) -> int:
    """What a group costs, in tokens: those computed, and one step's overhead per batch."""
    return sum(block.num_tokens + STEP_OVERHEAD * len(block.batches) for block in blocks)


@dataclass(frozen=True, kw_only=True)
class ModelSpeed:
    """Measured on a few batches."""

    cost_per_second: float

    def seconds(self, tokens_of_cost: float) -> float:
        """Expected time for a cost."""
        return tokens_of_cost / self.cost_per_second


def measure_model(engine: Engine, unit: WorkItem, tokens: np.ndarray[tuple[int, ...], np.dtype[np.int32]]) -> ModelSpeed:
    """Run a few batches of a unit's rows ``tokens`` (row, position) and drop the states."""
    rows = tokens[: 2 * engine.layout.rows_per_batch]
    blocks = engine.blocks(unit.level, rows)
    _run(engine, engine.blocks(unit.level, rows[: max(1, len(rows) // 8)]))
    start, repeats = time.perf_counter(), 0
    while repeats == 0 or (repeats < _MOST_REPEATS and time.perf_counter() - start < _LEAST_SECONDS):
        _run(engine, blocks)
        repeats += 1
    return ModelSpeed(cost_per_second=repeats * cost(blocks) / (time.perf_counter() - start))


def _run(engine: Engine, blocks: list[TileBatches]) -> None:
    for block in blocks:
        forward = TileForward(engine.model.decoder, block, engine.model.device)
        for batch in block.batches:
            forward.run(batch, lambda batch, layer, states: None)
    if engine.model.device.type == "cuda":
        torch.cuda.synchronize(engine.model.device)


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
