"""Progress of long work on standard error: a bar on a terminal, a line every ten seconds elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from ie_store.options import Progress
from ie_store.printable import printable

SECONDS_BETWEEN_LINES = 10.0


class ProgressBar:
    """An `OnProgress` callback: one bar per stage, with units/s and bytes/s."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._live = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[counts]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._is_terminal = console.is_terminal
        self._tasks: dict[str, TaskID] = {}
        self._first: dict[str, tuple[float, int, int]] = {}
        self._last_done: dict[str, int] = {}
        self._last_line = time.monotonic()

    def __enter__(self) -> "ProgressBar":
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def __call__(self, progress: Progress) -> None:
        """Show one report."""
        now = time.monotonic()
        if progress.done < self._last_done.get(progress.stage, 0):
            del self._first[progress.stage]  # the same stage of the next problem: its rate starts anew
        self._last_done[progress.stage] = progress.done
        start, done, num_bytes = self._first.setdefault(progress.stage, (now, progress.done, progress.num_bytes))
        counts = _counts(progress, now - start, progress.done - done, progress.num_bytes - num_bytes)
        if self._is_terminal:
            if progress.stage not in self._tasks:
                self._tasks[progress.stage] = self._live.add_task(printable(progress.stage), total=progress.total, counts=counts)
            self._live.update(self._tasks[progress.stage], completed=progress.done, total=progress.total, counts=counts)
        elif now - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = now
            left = (progress.total - progress.done) * (now - start) / max(1, progress.done - done)
            print(f"{printable(progress.stage)}: {counts}, about {left:.0f} s left", file=sys.stderr, flush=True)


def _counts(progress: Progress, seconds: float, done: int, num_bytes: int) -> str:
    unit = printable(progress.unit)
    text = f"{progress.done:,}/{progress.total:,} {unit}"
    if seconds > 0:
        text += f", {done / seconds:,.0f} {unit}/s"
        if num_bytes:
            text += f", {num_bytes / seconds / 1e6:,.1f} MB/s"
    return text
