"""How far an extraction is, as it is told: the work of the whole run, and the rows of each level."""

from ie_store.extract.forecast_speed import cost
from ie_store.extract.time_left import TimeLeft
from ie_store.extract.work import WorkItem
from ie_store.options import OnProgress, Progress


class RunProgress:
    """What is done of some items, whoever does them."""

    def __init__(self, items: tuple[WorkItem, ...], audit_cost: int, on_progress: OnProgress) -> None:
        """``audit_cost`` comes after the items, in the unit of `forecast_speed.cost`."""
        self.tell = on_progress
        self.num_bytes = 0
        """Encoded bytes written so far."""
        self._work = sum(cost(item.tiles) for item in items)
        self._time_left = TimeLeft(self._work + audit_cost)
        self._totals = {level: sum(item.num_rows for item in items if item.level == level) for level in ("micro", "macro")}
        self._rows, self._done = dict.fromkeys(self._totals, 0), 0.0

    def step(self, item: WorkItem, tokens: int, all_tokens: int) -> None:
        """So many tokens of an item are computed, of so many."""
        self._tell(item, self._done + cost(item.tiles) * tokens / all_tokens, item.num_rows * tokens // all_tokens)

    def finished(self, item: WorkItem, num_bytes: int = 0) -> None:
        """An item is computed; ``num_bytes`` more are written."""
        self.num_bytes += num_bytes
        self._done += cost(item.tiles)
        self._rows[item.level] += item.num_rows
        self._tell(item, self._done, 0)

    def _tell(self, item: WorkItem, work: float, rows: int) -> None:
        self.tell(
            Progress(
                stage="extraction", done=round(work), total=self._work, unit="tokens of work", num_bytes=self.num_bytes,
                is_whole_run=True, seconds_left=self._time_left.seconds(work),
            )
        )  # fmt: skip
        level = item.level
        self.tell(Progress(stage=f"{level} states", done=self._rows[level] + rows, total=self._totals[level], unit="rows"))
