"""Where every chunk of every shard lies and what it must sum to: read once, kept by the reader."""

from typing import Any

import numpy as np

from ie_store.specs import Level, StoreLayout
from ie_store.store.door import Files
from ie_store.store.layout import NOT_STORED, cell_grid, shard_key
from ie_store.store.ledger import read_checksums
from ie_store.store.shards import index_bytes, parse_index


class ShardTable:
    """The indices and ledger entries of the shards of macro or micro, loaded when first asked for."""

    def __init__(self, files: Files, name: str, layout: StoreLayout, level: Level) -> None:
        shape = (layout.num_shards(level), *cell_grid(layout, level))
        self._files, self._name, self._layout, self._level = files, name, layout, level
        self._extents = np.full((*shape, 2), NOT_STORED, dtype=np.uint64)
        self._checksums = np.zeros(shape, dtype=np.uint32)
        self._known = np.zeros(shape[0], dtype=bool)

    def extents(self, cell: tuple[int, ...], shards: range) -> list[tuple[int, int]]:
        """Offset and length of chunk ``cell`` in each of ``shards``; NOT_STORED twice where it is not there.

        Raises:
            StoreError: an index or a ledger entry is damaged.
        """
        for shard in np.flatnonzero(~self._known[shards.start : shards.stop]):
            self._load(shards.start + int(shard))
        place: Any = (slice(shards.start, shards.stop), *cell)
        return [(offset, length) for offset, length in self._extents[place].tolist()]

    def checksums(self, cell: tuple[int, ...], shards: range) -> list[int]:
        """crc32c of chunk ``cell`` in each of ``shards``, after `extents`."""
        place: Any = (slice(shards.start, shards.stop), *cell)
        found: list[int] = self._checksums[place].tolist()
        return found

    def is_written(self, shard: int) -> bool:
        """True where a shard counts, after `extents`."""
        return bool(self._known[shard])

    def _load(self, shard: int) -> None:
        checksums = read_checksums(self._files, self._name, self._layout, self._level, shard)
        key, grid = shard_key(self._name, self._layout, self._level, shard), cell_grid(self._layout, self._level)
        if checksums is None or self._files.size(key) is None:
            return  # perhaps somebody writes it now: look again next time
        suffix = self._files.read_suffix(key, index_bytes(grid))
        self._extents[shard] = parse_index(suffix, grid, self._files.address(key))
        self._checksums[shard] = checksums
        self._known[shard] = True
