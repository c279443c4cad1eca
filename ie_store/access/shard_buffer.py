"""Shards of a slab read into one buffer, each straight to its place: what rows are taken from in any order."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.specs import Slab
from ie_store.store.dataset.reader import DatasetReader


@dataclass(frozen=True, kw_only=True)
class ShardBuffer:
    """Rows of some shards, in memory."""

    shards: NDArray[np.int64]
    """(shard,) rising."""
    rows_per_shard: int
    states: NDArray[Any]
    """(shard * row, hidden) in the stored dtype, bfloat16 as its bits; rows past the last sequence are fill."""

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Index into ``states`` of sequences (row,)."""
        if self.shards[-1] == len(self.shards) - 1:  # all shards from the first on
            return rows
        moved = np.zeros(self.shards[-1] + 1, dtype=np.int64)
        moved[self.shards] = (np.arange(len(self.shards)) - self.shards) * self.rows_per_shard
        found: NDArray[np.int64] = rows + moved[rows // self.rows_per_shard]
        return found


def shards_of(rows: NDArray[np.int64], rows_per_shard: int) -> NDArray[np.int64]:
    """The shards that hold sequences (row,), rising."""
    held = np.zeros(rows.max() // rows_per_shard + 1, dtype=bool)
    held[rows // rows_per_shard] = True
    return np.flatnonzero(held)


def read_shards(reader: DatasetReader, slab: Slab, shards: NDArray[np.int64]) -> ShardBuffer:
    """All rows of some shards of a slab.

    Raises:
        StoreError: not stored, not written yet, or damaged; says where.
    """
    size = reader.layout.level(slab.level).rows_per_shard
    return ShardBuffer(shards=shards, rows_per_shard=size, states=reader.read_shards(slab, shards.tolist()))
