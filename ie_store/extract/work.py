"""The items of work of an extraction: which rows are computed together, how, and which shards they fill."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ie_store.corpus.rows import Corpus
from ie_store.extract.forward.tiles import Tile
from ie_store.prefixes import common_prefix_lengths, num_distinct_prefixes
from ie_store.specs import Level, LevelLayout, Shard, StoreLayout

TilesOf = Callable[[Level, NDArray[np.int32]], tuple[Tile, ...]]
"""How rows of a level (row, position) are to be computed."""


@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """Rows start..stop-1 of macro or micro, computed as one group; ``shards`` of them are still to be written."""

    level: Level
    start: int
    stop: int
    shards: tuple[Shard, ...]
    tiles: tuple[Tile, ...]
    distinct_tokens: int
    """Stored states of layer 0, all shards and positions together, whose token is not that of the row above."""
    distinct_prefixes: int
    """Stored states of any later layer whose prefix is not that of the row above."""

    @property
    def num_rows(self) -> int:
        """Rows computed."""
        return self.stop - self.start

    @property
    def num_tokens(self) -> int:
        """Tokens the model computes."""
        return sum(tile.num_tokens for tile in self.tiles)

    @property
    def num_batches(self) -> int:
        """Forwards."""
        return sum(tile.num_batches for tile in self.tiles)

    def rows(self, corpus: Corpus) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Tokens (row, position) and what each row is called in messages: its source row; micro: its token id."""
        return rows_of(corpus, self.level, self.start, self.stop)


def rows_of(corpus: Corpus, level: Level, start: int, stop: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Tokens (row, position) of rows start..stop-1, and what each is called in messages: its source row; micro: its token id."""
    if level == "macro":
        return corpus.tokens[start:stop], corpus.source_row[start:stop]
    values = corpus.token_values[start:stop]
    return values[:, None], values.astype(np.int64)


def missing_items(
    corpus: Corpus, layout: StoreLayout, missing: dict[Level, list[int]], tiles_of: TilesOf
) -> tuple[WorkItem, ...]:
    """The items that hold missing shards: the lone tokens first, then groups of macro shards, each rising.

    A group is computed whole even where only one of its shards is missing, so that its batches are what they always are.
    """
    items: list[WorkItem] = []
    for states in (layout.level("micro"), layout.level("macro")):
        groups: dict[int, list[Shard]] = {}
        for index in missing[states.level]:
            groups.setdefault(index // states.shards_per_group, []).append(states.shard(index))
        items += [_item(corpus, layout, states, group, shards, tiles_of) for group, shards in sorted(groups.items())]
    return tuple(items)


def _item(
    corpus: Corpus, layout: StoreLayout, states: LevelLayout, group: int, shards: list[Shard], tiles_of: TilesOf
) -> WorkItem:
    first = group * states.shards_per_group
    last = min(first + states.shards_per_group, states.num_shards) - 1
    start, stop = states.shard(first).start, states.shard(last).stop
    distinct_tokens, distinct_prefixes = _distinct(corpus, layout, shards)
    return WorkItem(
        level=states.level,
        start=start,
        stop=stop,
        shards=tuple(shards),
        tiles=tiles_of(states.level, rows_of(corpus, states.level, start, stop)[0]),
        distinct_tokens=distinct_tokens,
        distinct_prefixes=distinct_prefixes,
    )


def _distinct(corpus: Corpus, layout: StoreLayout, shards: list[Shard]) -> tuple[int, int]:
    if shards[0].level == "micro":
        num_rows = sum(shard.stop - shard.start for shard in shards)
        return num_rows, num_rows
    positions, tokens, prefixes = list(layout.positions), 0, 0
    for shard in shards:
        rows = corpus.tokens[shard.start : shard.stop]
        tokens += int((1 + (rows[1:] != rows[:-1]).sum(axis=0))[positions].sum())
        prefixes += int(num_distinct_prefixes(common_prefix_lengths(rows), layout.num_positions)[positions].sum())
    return tokens, prefixes
