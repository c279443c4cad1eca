"""How a group of rows is computed, as whole numbers: tiles, their segments, and how many batches each segment takes.

A plan keeps these alone: the token arrays of the batches (`batches`) are several times the corpus and are made when a tile runs.
"""

from dataclasses import dataclass

import numpy as np

from ie_store.grid import ceil_div
from ie_store.prefixes import Tokens, common_prefix_lengths, num_distinct_prefixes, schedule_stops

STEP_OVERHEAD = 48
"""One more pass through the model costs about as much as this many tokens (reading the weights)."""


@dataclass(frozen=True, kw_only=True)
class TileSegment:
    """Positions start..stop-1 of every node of a tile, in ``num_batches`` forwards."""

    start: int
    stop: int
    num_nodes: int
    """Distinct prefixes; all rows where prefixes are not shared."""
    num_batches: int

    @property
    def num_tokens(self) -> int:
        """Tokens the model computes."""
        return self.num_nodes * (self.stop - self.start)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """Rows start..stop-1 of a group, computed over one cache."""

    start: int
    stop: int
    shared: bool
    """Whether distinct prefixes are computed once."""
    rows_per_batch: int
    segments: tuple[TileSegment, ...]

    @property
    def num_tokens(self) -> int:
        """Tokens the model computes."""
        return sum(segment.num_tokens for segment in self.segments)

    @property
    def num_batches(self) -> int:
        """Forwards."""
        return sum(segment.num_batches for segment in self.segments)

    @property
    def num_slots(self) -> int:
        """Slots the cache needs: all but the last segment keep theirs; 0 for one segment, which needs no cache."""
        if len(self.segments) == 1:
            return 0
        last = self.segments[-1]
        kept = sum(segment.num_tokens for segment in self.segments[:-1])
        return kept + ceil_div(last.num_nodes, last.num_batches) * (last.stop - last.start)


def num_batches(num_nodes: int, width: int, num_positions: int, rows_per_batch: int) -> int:
    """Forwards of equal cost over ``width`` positions of ``num_nodes``, none dearer than ``rows_per_batch`` whole rows."""
    return ceil_div(num_nodes, max(1, rows_per_batch * num_positions // width))


def plan_tile(tokens: Tokens, rows_per_batch: int, *, sharing: bool, start: int = 0) -> Tile:
    """One tile of sorted rows ``tokens`` (row, position), the first of which is row ``start`` of its group."""
    num_rows, num_positions = tokens.shape
    stops: tuple[int, ...] = (num_positions,)
    nodes = np.full(num_positions, num_rows)
    if sharing:
        differences = common_prefix_lengths(tokens)
        stops, nodes = (
            schedule_stops(differences, num_positions, STEP_OVERHEAD),
            num_distinct_prefixes(differences, num_positions),
        )
    segments = tuple(
        TileSegment(
            start=first,
            stop=stop,
            num_nodes=int(nodes[stop - 1]),
            num_batches=num_batches(int(nodes[stop - 1]), stop - first, num_positions, rows_per_batch),
        )
        for first, stop in zip((0, *stops), stops, strict=False)
    )
    return Tile(start=start, stop=start + num_rows, shared=sharing, rows_per_batch=rows_per_batch, segments=segments)


def plan_tiles(tokens: Tokens, rows_per_batch: int, *, sharing: bool, slots_limit: int, start: int = 0) -> tuple[Tile, ...]:
    """The tiles of a group: one, or halves of halves where one cache would take too much memory.

    Args:
        tokens: (row, position), sorted lexicographically.
        rows_per_batch: rows of a plain forward that make a batch; a step over fewer positions takes that many more nodes.
        sharing: whether prefixes may be shared.
        slots_limit: most slots of a cache.
        start: first row of ``tokens`` in its group.
    """
    tile = plan_tile(tokens, rows_per_batch, sharing=sharing, start=start)
    if tile.num_slots <= slots_limit or len(tokens) == 1:
        return (tile,)
    half = len(tokens) // 2
    return (
        *plan_tiles(tokens[:half], rows_per_batch, sharing=sharing, slots_limit=slots_limit, start=start),
        *plan_tiles(tokens[half:], rows_per_batch, sharing=sharing, slots_limit=slots_limit, start=start + half),
    )
