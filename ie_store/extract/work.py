"""The units of work of an extraction: which rows are computed together, and which shards they fill."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ie_store.corpus.rows import Corpus
from ie_store.specs import Level, Shard, StoreLayout


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
    for level, group_size in (("micro", 1), ("macro", layout.shards_per_group)):
        groups: dict[int, list[Shard]] = {}
        for index in missing[level]:  # type: ignore[index]
            groups.setdefault(index // group_size, []).append(layout.shard(level, index))  # type: ignore[arg-type]
        units += [_unit(layout, level, group * group_size, group_size, shards) for group, shards in sorted(groups.items())]
    return units


def _unit(layout: StoreLayout, level: str, first: int, group_size: int, shards: list[Shard]) -> WorkItem:
    kind: Level = "macro" if level == "macro" else "micro"
    last = min(first + group_size, layout.num_shards(kind)) - 1
    return WorkItem(level=kind, start=layout.shard(kind, first).start, stop=layout.shard(kind, last).stop, shards=tuple(shards))
