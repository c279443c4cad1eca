"""Which distinct prefixes go through the model together, as arrays: a pure function of a planned tile and its rows.

::

    rows of a group          segments (positions)      batches (nodes, in order)
    A , B ,                  0-1   2   3               0-1 | A,            one forward each; the cache holds
    A , C ,                  A,    A,B A,B,            2   | A,B  A,C      what earlier segments computed
    A , C ,                        A,C A,C,            3   | A,B, A,C,
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ie_store.extract.forward.tiles import Tile, num_batches
from ie_store.prefixes import Segment, Tokens, common_prefix_lengths, make_segments


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One forward: positions start..stop-1 of some distinct prefixes, and the rows that share them."""

    tokens: NDArray[np.int64]
    """(node, position)."""
    start: int
    stop: int
    row_start: int
    """Rows of the block row_start..row_stop-1 have these prefixes."""
    row_stop: int
    row_nodes: NDArray[np.int64] | None
    """(row,) node of each of these rows; None where every row has its own."""
    first_slot: int
    block_table: NDArray[np.int64] | None
    """(node x position,) slots of the prefixes; None where nothing comes before ``start``."""

    @property
    def num_tokens(self) -> int:
        """Tokens the model computes."""
        return self.tokens.size


@dataclass(frozen=True, kw_only=True)
class TileBatches:
    """All forwards of one block of rows, in the order in which they must run, over one cache."""

    start: int
    """First row of the block in its group."""
    segments: tuple[Segment, ...]
    batches: tuple[Batch, ...]
    """Their rows count from the first row of the block."""
    num_slots: int
    """Slots the cache needs; 0 for a plain forward, which needs no cache."""

    @property
    def num_tokens(self) -> int:
        """Tokens the model computes."""
        return sum(batch.num_tokens for batch in self.batches)


def plain_segments(num_rows: int, num_positions: int) -> tuple[Segment, ...]:
    """The schedule of a plain forward: every row, all positions at once."""
    rows = np.arange(num_rows, dtype=np.int64)
    return (Segment(start=0, stop=num_positions, node_rows=rows, parent_nodes=rows[:0]),)


def tile_batches(tokens: Tokens, tile: Tile) -> TileBatches:
    """The batches of a planned tile, over the rows ``tokens`` (row, position) of its group."""
    rows = tokens[tile.start : tile.stop]
    stops = tuple(segment.stop for segment in tile.segments)
    segments = make_segments(common_prefix_lengths(rows), stops) if tile.shared else plain_segments(*rows.shape)
    return make_batches(rows, segments, tile.rows_per_batch, tile.start)


def make_batches(tokens: Tokens, segments: tuple[Segment, ...], rows_per_batch: int, start: int = 0) -> TileBatches:
    """Cut each segment into batches of equal cost.

    Args:
        tokens: (row, position), sorted lexicographically.
        segments: together all positions.
        rows_per_batch: rows of a plain forward that make a batch; a step over fewer positions takes that many more nodes.
        start: first row of ``tokens`` in their group.
    """
    num_rows, num_positions = tokens.shape
    batches: list[Batch] = []
    block_tables: NDArray[np.int64] = np.empty((0, 0), np.int64)
    first_slot = num_slots = 0
    for segment in segments:
        past = block_tables[segment.parent_nodes] if batches else np.empty((len(segment.node_rows), 0), np.int64)
        own = first_slot + np.arange(segment.num_tokens).reshape(len(segment.node_rows), -1)
        is_last = segment.stop == num_positions
        if not is_last:
            block_tables = np.concatenate([past, own], axis=1)
            first_slot += segment.num_tokens
        for nodes in _equal_ranges(
            len(segment.node_rows),
            num_batches(len(segment.node_rows), segment.stop - segment.start, num_positions, rows_per_batch),
        ):
            slots = own[: len(nodes)] if is_last else own[nodes.start : nodes.stop]
            batches.append(_batch(tokens, segment, nodes, past[nodes.start : nodes.stop], slots, num_rows))
            num_slots = max(num_slots, int(slots[-1, -1]) + 1)
    return TileBatches(start=start, segments=segments, batches=tuple(batches), num_slots=num_slots if len(segments) > 1 else 0)


def _equal_ranges(num_nodes: int, pieces: int) -> Iterator[range]:
    edges = [num_nodes * piece // pieces for piece in range(pieces + 1)]
    yield from map(range, edges, edges[1:])


def _batch(
    tokens: Tokens, segment: Segment, nodes: range, past: NDArray[np.int64], slots: NDArray[np.int64], num_rows: int
) -> Batch:
    rows = segment.node_rows[nodes.start : nodes.stop]
    row_stop = int(segment.node_rows[nodes.stop]) if nodes.stop < len(segment.node_rows) else num_rows
    repeats = np.diff(np.append(rows, row_stop))
    return Batch(
        tokens=tokens[rows, segment.start : segment.stop].astype(np.int64),
        start=segment.start,
        stop=segment.stop,
        row_start=int(rows[0]),
        row_stop=row_stop,
        row_nodes=None if (repeats == 1).all() else np.repeat(np.arange(len(rows)), repeats),
        first_slot=int(slots[0, 0]),
        block_table=np.concatenate([past, slots], axis=1).reshape(-1) if segment.start else None,
    )
