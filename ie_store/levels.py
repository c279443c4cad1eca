"""What macro and micro differ in, as data; their shards, slabs and chunks, and what these are called in messages.

Imports `grid` alone.
"""

from dataclasses import dataclass
from itertools import product
from typing import Literal

from ie_store.grid import ceil_div, row_range

Level = Literal["macro", "micro"]
LEVELS: tuple[Level, Level] = ("macro", "micro")


def place_of(level: Level, cell: tuple[int, ...] = (), shard: int | None = None) -> str:
    """What a slab, a shard or a chunk is called in messages.

    ``macro layer 9, position 7``, ``micro shard 3`` and ``macro shard 3, layer 9, position 7``.
    """
    parts = [f"{axis} {number}" for axis, number in zip(("layer", "position"), cell, strict=False)]
    return f"{level} " + ", ".join(parts if shard is None else [f"shard {shard}", *parts])


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Write unit: all stored layers and positions of rows start..stop-1, in one file."""

    level: Level
    index: int
    start: int
    stop: int
    size: int
    """Rows the file has room for; ``stop - start`` is less in the last shard."""

    def __str__(self) -> str:
        return place_of(self.level, shard=self.index)


@dataclass(frozen=True, kw_only=True)
class Slab:
    """Read unit: all rows of one layer (macro: at one position; micro: ``position`` is None, one row per token)."""

    level: Level
    layer: int
    position: int | None

    @classmethod
    def of(cls, level: Level, layer: int, position: int) -> "Slab":
        """The slab in which the states of a layer at a position are: lone tokens have the same at every one."""
        return cls(level=level, layer=layer, position=position if level == "macro" else None)

    @property
    def cell(self) -> tuple[int, ...]:
        """Place of the slab's chunk in each shard: (layer, position) or (layer,)."""
        return (self.layer,) if self.position is None else (self.layer, self.position)

    def __str__(self) -> str:
        return place_of(self.level, self.cell)


@dataclass(frozen=True, kw_only=True)
class LevelLayout:
    """The shape of the states of one level and how they are cut into shards. `StoreLayout.level` makes it."""

    level: Level
    array: str
    """Name of the array: the level's, or one that says that numbers are kept as their bits."""
    dimensions: tuple[str, ...]
    """(layer, position, sequence, hidden) or (layer, token, hidden)."""
    grid: tuple[int, ...]
    """Chunks of a shard, stored or not: (layers, positions) or (layers,)."""
    stored: tuple[tuple[int, ...], ...]
    """The layers that are stored, and the positions; one tuple for each axis of ``grid``."""
    num_rows: int
    """Rows of a slab: sequences, or distinct tokens."""
    rows_per_shard: int
    shards_per_group: int
    """Neighbouring shards whose rows may meet in one forward batch."""
    row_bytes: int
    """Of one state."""

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of ``grid``."""
        return self.dimensions[: len(self.grid)]

    @property
    def stored_cells(self) -> list[tuple[int, ...]]:
        """The chunks that are stored, in the order in which they lie in a shard's file (C order)."""
        return list(product(*self.stored))

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk once it is decoded."""
        return self.rows_per_shard * self.row_bytes

    @property
    def dense_bytes(self) -> int:
        """Bytes of the states as a plain array: every stored layer and position of every row."""
        return len(self.stored_cells) * self.num_rows * self.row_bytes

    @property
    def num_shards(self) -> int:
        """Shards, the last of which may be short."""
        return ceil_div(self.num_rows, self.rows_per_shard)

    def slab(self, cell: tuple[int, ...]) -> Slab:
        """The read unit whose chunks lie at ``cell`` of each shard."""
        layer, *position = cell
        return Slab(level=self.level, layer=layer, position=position[0] if position else None)

    def shard(self, index: int) -> Shard:
        """The write unit ``index``."""
        rows = row_range(index, self.rows_per_shard, self.num_rows)
        return Shard(level=self.level, index=index, start=rows.start, stop=rows.stop, size=self.rows_per_shard)

    def shard_key(self, index: int) -> str:
        """Key of a shard's file below the dataset."""
        return f"{self.array}/c/{'0/' * len(self.grid)}{index}/0"

    def commit_key(self, index: int) -> str:
        """Key of a shard's commit mark below the dataset; see `ie_store.store.dataset.ledger`."""
        return f"ledger/{self.level}/c/{index}{'/0' * len(self.grid)}"
