"""What finished items took, and what the others will take by it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ie_store.estimate.exact.prefix_index import PrefixIndex
from ie_store.estimate.plan import WorkItem
from ie_store.estimators import EstimatorSpec
from ie_store.specs import Level

RowsOf = Callable[[WorkItem], int]
"""Distinct rows of each of an item's problems."""


def rows_of(corpus: PrefixIndex) -> RowsOf:
    """The `RowsOf` of a corpus; each position is counted once."""
    known: dict[tuple[Level, int], int] = {}

    def rows(item: WorkItem) -> int:
        at = (item.batch.level, item.batch.position)
        if at not in known:
            known[at] = corpus.num_distinct(item.batch.problems[0])
        return known[at]

    return rows


FARTHEST = 100.0
"""Times as many rows, or as few, of which what an item took tells nothing: a model's tokens say nothing of its prefixes."""


class Costs:
    """Seconds that finished items took, by estimator and rows; with other rows, in proportion to the nearest that are known.

    Macro block 0 alone tells nothing of the other blocks: tokens alone enter it, which may leave nothing to learn.
    """

    def __init__(self, rows: RowsOf) -> None:
        self._rows = rows
        self._known: dict[tuple[EstimatorSpec[Any], bool], dict[int, tuple[float, int]]] = {}

    def add(self, item: WorkItem, seconds: float) -> None:
        """Keep what an item took."""
        of_kind = self._known.setdefault((item.estimator, _is_first(item)), {})
        before, count = of_kind.get(self._rows(item), (0.0, 0))
        of_kind[self._rows(item)] = before + seconds, count + len(item.batch.problems)

    def seconds_of(self, item: WorkItem) -> float | None:
        """What an item will take; None where no item that tells of it was finished."""
        known, rows = self._known.get((item.estimator, _is_first(item))), self._rows(item)
        if not known and (_is_first(item) or item.batch.level == "micro"):
            known = self._known.get((item.estimator, not _is_first(item)))
        if not known:
            return None
        nearest = min(known, key=lambda other: _times(rows, other))
        if _times(rows, nearest) > FARTHEST:
            return None
        seconds, count = known[nearest]
        return seconds / count * len(item.batch.problems) * rows / nearest

    def seconds_left(self, items: Sequence[WorkItem]) -> float | None:
        """What ``items`` will take one after the other; None while nothing tells of one among them."""
        return _sum_of_known(self.seconds_of(item) for item in items)


def _times(rows: int, others: int) -> float:
    return max(rows, others) / min(rows, others)


def _is_first(item: WorkItem) -> bool:
    return item.batch.level == "macro" and item.batch.blocks == (0,)


def _sum_of_known(values: Iterable[float | None]) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total
