"""Batches of states for PyTorch: an iterable dataset that reads a slab once, in the order of an epoch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from ie_store.access.order import Order, make_order
from ie_store.access.shard_buffer import ShardBuffer, read_shards, shards_of
from ie_store.errors import InputError
from ie_store.fields import require_choice, require_seed, require_whole
from ie_store.specs import Slab
from ie_store.store.dataset.reader import DatasetReader

BatchDtype = Literal["float32", "stored"]


class Batch(NamedTuple):
    """Some rows of a slab."""

    states: torch.Tensor
    """(row, hidden)"""
    sequence: torch.Tensor
    """(row,) int64: the sequence that each row is of, as ``ds.sel(sequence=...)`` takes it; on the CPU."""


@dataclass(kw_only=True, eq=False)
class Batches(IterableDataset[Batch]):
    """The states of one layer and position, batch after batch; `ds.ie.batches` makes it.

    Iterating it goes through all epochs. `order` says how rows are mixed. For a `torch.utils.data.DataLoader` give it
    ``batch_size=None``; each of its workers then gives every so many-th batch, and reads what it needs by itself.
    """

    reader: DatasetReader
    slab: Slab
    rows: NDArray[np.int64]
    """(row,) sequences, rising."""
    batch_size: int
    shuffle: bool
    device: torch.device
    dtype: BatchDtype
    seed: int
    epochs: int
    start: int
    """Batches that are left out at the beginning, of all epochs: where a run that was stopped goes on."""
    memory_bytes: int
    _kept: ShardBuffer | None = field(default=None, init=False, repr=False)
    """What was read last; where all rows fit, it serves every epoch."""
    _drawn: dict[int, Order] = field(default_factory=dict, init=False, repr=False)
    """Orders by epoch that were drawn to be described, and wait for their use."""

    def __post_init__(self) -> None:
        require_choice("dtype", self.dtype, BatchDtype)
        require_seed(self.seed)
        require_whole("batch_size", self.batch_size, 1)
        require_whole("epochs", self.epochs, 1)
        require_whole("start", self.start, 0)
        if self.start > self.num_batches * self.epochs:
            raise InputError(
                f"start is {self.start:,}, and there are {self.num_batches * self.epochs:,} batches; give a smaller number"
            )
        _ = self.order

    @property
    def num_batches(self) -> int:
        """Batches of an epoch; the last may be smaller."""
        return math.ceil(len(self.rows) / self.batch_size)

    def __len__(self) -> int:
        return self.num_batches * self.epochs - self.start

    @property
    def order(self) -> str:
        """How rows are mixed: ``uniform permutation of ...``, ``not a uniform permutation: ...``, or ``as stored``."""
        self._drawn[0] = self._order(0)
        return self._drawn[0].described

    def _order(self, epoch: int) -> Order:
        if epoch in self._drawn:
            return self._drawn.pop(epoch)
        level = self.reader.layout.level(self.slab.level)
        return make_order(
            self.rows,
            rows_per_shard=level.rows_per_shard,
            most_rows=self.memory_bytes // level.row_bytes,
            shuffle=self.shuffle,
            seed=self.seed,
            epoch=epoch,
        )

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        step, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        first, skipped = divmod(self.start, self.num_batches)
        dtype = torch.float32 if self.dtype == "float32" else None
        number = 0
        for epoch in range(first, self.epochs):
            for batch in self._epoch(epoch, skipped if epoch == first else 0):
                if number % stride == step:
                    yield Batch(batch.states.to(self.device, dtype, non_blocking=True), batch.sequence)
                number += 1
        self._kept = None

    def _epoch(self, epoch: int, skipped: int) -> Iterator[Batch]:
        """Batches on the CPU in the stored dtype, without the first few; a group is read when its first row is due."""
        left_out, left = skipped * self.batch_size, None
        for group in self._order(epoch).groups:
            if left_out >= len(group):
                left_out -= len(group)
                continue
            rows, left_out = group[left_out:], 0
            buffer = self._read(group)
            places, begin = buffer.places(rows), 0
            if left is not None:
                begin = self.batch_size - len(left.sequence)
                left = _joined(left, _batch(buffer, rows[:begin], places[:begin]))
                if len(left.sequence) < self.batch_size:
                    del buffer
                    continue
                yield left
            last = begin + (len(rows) - begin) // self.batch_size * self.batch_size
            for first in range(begin, last, self.batch_size):
                chosen = slice(first, first + self.batch_size)
                yield _batch(buffer, rows[chosen], places[chosen])
            left = None if last == len(rows) else _joined(_batch(buffer, rows[last:], places[last:]))
            del buffer  # before the next group is read
        if left is not None:
            yield left

    def _read(self, group: NDArray[np.int64]) -> ShardBuffer:
        shards = shards_of(group, self.reader.layout.level(self.slab.level).rows_per_shard)
        if self._kept is None or not np.array_equal(self._kept.shards, shards):
            self._kept = None  # before others are read
            self._kept = read_shards(self.reader, self.slab, shards)
        return self._kept


def _batch(buffer: ShardBuffer, rows: NDArray[np.int64], places: NDArray[np.int64]) -> Batch:
    """Some rows of a buffer: a view where they lie one after another, else a copy, made by as many threads as torch has."""
    sequence = torch.from_numpy(rows)
    if len(rows) and places[-1] - places[0] == len(rows) - 1 and bool((np.diff(places) == 1).all()):
        return Batch(_tensor(buffer.states[places[0] : places[-1] + 1]), sequence)  # of these rows alone: workers send it whole
    return Batch(_tensor(buffer.states).index_select(0, torch.from_numpy(places)), sequence)


def _tensor(states: NDArray[np.generic]) -> torch.Tensor:
    """Stored numbers as a tensor, bfloat16 from its bits."""
    if states.dtype == np.uint16:
        return torch.from_numpy(states.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(states)


def _joined(*parts: Batch) -> Batch:
    """A batch of its own, which keeps no group in memory."""
    return Batch(torch.cat([part.states for part in parts]), torch.cat([part.sequence for part in parts]))
