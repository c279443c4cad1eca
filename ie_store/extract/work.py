"""The units of work of an extraction: which rows are computed together, and which shards they fill."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ie_store.corpus.rows import Corpus
from ie_store.specs import Level, LevelLayout, Shard, StoreLayout


@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """Rows start..stop-1 of macro or micro, computed as one group; ``shards`` of them are still to be written."""

    level: Level
    start: int
    stop: int
    shards: tuple[Shard, ...]

    @property
    def num_rows(self) -> int:
        """Rows computed."""
        return self.stop - self.start

    def rows(self, corpus: Corpus) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Tokens (row, position) and what each row is called in messages: its source row; micro: its token id."""
        if self.level == "macro":
            return corpus.tokens[self.start : self.stop], corpus.source_row[self.start : self.stop]
        values = np.unique(corpus.tokens)[self.start : self.stop]
        return values[:, None], values.astype(np.int64)


def missing_items(layout: StoreLayout, missing: dict[Level, list[int]]) -> list[WorkItem]:
    """The units that hold missing shards: the lone tokens first, then groups of macro shards, each rising.

    A group is computed whole even where only one of its shards is missing, so that its batches are what they always are.
    """
    units: list[WorkItem] = []
    for states in (layout.level("micro"), layout.level("macro")):
        groups: dict[int, list[Shard]] = {}
        for index in missing[states.level]:
            groups.setdefault(index // states.shards_per_group, []).append(states.shard(index))
        units += [_unit(states, group, shards) for group, shards in sorted(groups.items())]
    return units


def _unit(states: LevelLayout, group: int, shards: list[Shard]) -> WorkItem:
    first = group * states.shards_per_group
    last = min(first + states.shards_per_group, states.num_shards) - 1
    return WorkItem(level=states.level, start=states.shard(first).start, stop=states.shard(last).stop, shards=tuple(shards))
