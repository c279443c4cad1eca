"""Where every chunk of every shard lies and what it must sum to: read once, kept by the reader."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import REPAIR, StoreError
from ie_store.levels import Level, place_of
from ie_store.store.dataset.handle import Dataset
from ie_store.store.dataset.ledger import read_checksums, read_index
from ie_store.store.format.arrays import NOT_STORED
from ie_store.store.format.shard_index import Index

ABSENT = (NOT_STORED, NOT_STORED)
"""Offset and length of a chunk that is not there."""


class ShardTable:
    """The indices and ledger entries of the shards of macro or micro, loaded when first asked for."""

    def __init__(self, dataset: Dataset, level: Level) -> None:
        self._dataset, self._level, self._complete = dataset, level, dataset.attributes.complete
        self._loaded: dict[int, tuple[Index, NDArray[np.uint32]]] = {}

    def extents(self, cell: tuple[int, ...], shards: Sequence[int], strict: bool = False) -> list[tuple[int, int]]:
        """Offset and length of chunk ``cell`` in each of ``shards``; where it is not there, `ABSENT`.

        Raises:
            StoreError: an index or a ledger entry is damaged; with ``strict`` or in a complete dataset, one is not there.
        """
        found = []
        for shard in shards:
            extent = self._extent(cell, shard)
            if extent == ABSENT and (strict or self._complete):
                raise StoreError(self._absence(cell, shard))
            found.append(extent)
        return found

    def checksums(self, cell: tuple[int, ...], shards: Sequence[int]) -> list[int]:
        """What the ledger holds of chunk ``cell`` in each of ``shards``, after `extents`; 0 where it is not there."""
        return [int(self._loaded[shard][1][cell]) if shard in self._loaded else 0 for shard in shards]

    def _extent(self, cell: tuple[int, ...], shard: int) -> tuple[int, int]:
        if shard not in self._loaded:
            self._load(shard)
        if shard not in self._loaded:
            return ABSENT
        offset, length = self._loaded[shard][0][cell].tolist()
        return offset, length

    def _load(self, shard: int) -> None:
        checksums = read_checksums(self._dataset, self._level, shard)
        found = read_index(self._dataset, self._level, shard)
        if checksums is not None and found is not None:  # else perhaps somebody writes it now: look again next time
            self._loaded[shard] = found[0], checksums

    def _absence(self, cell: tuple[int, ...], shard: int) -> str:
        dataset, states = self._dataset, self._dataset.layout.level(self._level)
        key = states.shard_key(shard)
        where = f"{dataset.address_of(key)} ({place_of(self._level, cell, shard)})"
        if shard in self._loaded:
            return f"{where} lacks this chunk; {REPAIR}"
        if not self._complete:
            return f"{where} is not written yet; run the same extract command again: it writes what is missing"
        entry = dataset.key(states.commit_key(shard))
        lost = "the shard" if dataset.files.size(dataset.key(key)) is None else f"its ledger entry {entry}"
        return f"{where}: {lost} is missing though the dataset is complete; {REPAIR}"
