"""Progress of long work on standard error: a bar on a terminal, a line every ten seconds elsewhere."""

import sys
import time
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from ie_store.grid import format_selection
from ie_store.options import Progress
from ie_store.printable import printable
from ie_store.specs import NATS_PER_BIT, MIEstimate, Problem

from .render.text import duration
from .session import session

SECONDS_BETWEEN_LINES = 10.0
MOST_VALUES = 4
"""Values in one line."""


@dataclass
class Stage:
    """Where a stage began, and how far it is."""

    began: float
    first: Progress
    now: Progress
    told: float
    """When `now` was."""

    def seconds_left(self, at: float) -> float | None:
        """From the rate so far; of the whole run what it says itself, which may be over. None while nothing is measured."""
        if self.now.is_whole_run:
            return None if self.now.seconds_left is None else self.now.seconds_left - (at - self.told)
        done, seconds = self.now.done - self.first.done, self.told - self.began
        return (self.now.total - self.now.done) * seconds / done if done > 0 and seconds > 0 else None

    def text(self, at: float) -> str:
        """Counts, rates, and the time that is left."""
        left, unit = self.seconds_left(at), printable(self.now.unit)
        parts = [f"{self.now.done:,}/{self.now.total:,} {unit}"]
        seconds, done = self.told - self.began, self.now.done - self.first.done
        if seconds > 0 and done > 0 and not self.now.is_whole_run:
            parts.append(f"{done / seconds:,.0f} {unit}/s" if done >= seconds else f"{duration(seconds / done)} each")
        if seconds > 0 and self.now.num_bytes > self.first.num_bytes:
            parts.append(f"{(self.now.num_bytes - self.first.num_bytes) / seconds / 1e6:,.1f} MB/s")
        if left is not None and self.now.done < self.now.total:
            parts.append(f"about {duration(left)} left" if left > 0 else "longer than foreseen")
        return ", ".join(parts)


class ProgressBar:
    """An `OnProgress` callback: one bar per stage, with units/s and bytes/s, and values as they are found."""

    def __init__(self) -> None:
        console, self._session = Console(stderr=True), session()
        self._live = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            disable=self._session.quiet or not console.is_terminal,
        )
        self._is_terminal = console.is_terminal
        self._tasks: dict[str, TaskID] = {}
        self._stages: dict[str, Stage] = {}
        self._whole: Stage | None = None
        self._found: list[str] = []
        self._last_line = time.monotonic()

    def __enter__(self) -> "ProgressBar":
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def __call__(self, progress: Progress) -> None:
        """Show one report."""
        at = time.monotonic()
        stage = self._stage(progress, at)
        self._found += found_values(progress.found)
        if self._is_terminal and not self._session.quiet:
            self._show(stage, at)
        if at - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = at
            line = self._line(stage, at)
            self._session.log(line)
            if not self._is_terminal and not self._session.quiet:
                print(line, file=sys.stderr, flush=True)

    def _stage(self, progress: Progress, at: float) -> Stage:
        stage = self._stages.get(progress.stage)
        if stage is None or progress.done < stage.now.done:  # the same stage of the next problem: its rate starts anew
            stage = self._stages[progress.stage] = Stage(at, progress, progress, at)
        stage.now, stage.told = progress, at
        if progress.is_whole_run:
            self._whole = stage
        return stage

    def _show(self, stage: Stage, at: float) -> None:
        for one in {id(s): s for s in (stage, self._whole) if s is not None}.values():
            name, text = one.now.stage, one.text(at)
            if one.now.is_whole_run and self._found:
                self._found = self._found[-1:]
                text += f"; {self._found[-1]}"
            if name not in self._tasks:
                self._tasks[name] = self._live.add_task(printable(name), total=one.now.total, text=text)
            self._live.update(self._tasks[name], completed=one.now.done, total=one.now.total, text=text)

    def _line(self, stage: Stage, at: float) -> str:
        """Where the whole run is, then the stage, then what was found since the last line."""
        shown = [self._whole, stage] if self._whole not in (None, stage) else [stage]
        parts = [f"{printable(one.now.stage)}: {one.text(at)}" for one in shown if one is not None]
        more = len(self._found) - MOST_VALUES
        parts += self._found[-MOST_VALUES:] + ([f"and {more:,} values before"] if more > 0 else [])
        self._found = []
        return "; ".join(parts)


def found_values(found: dict[Problem, MIEstimate]) -> list[str]:
    """Values in bits, one text for the blocks of each estimator, level and position: ``block 7, position 3: noise 9.50 bits``."""
    groups: dict[tuple[str, str, int], dict[int, float]] = {}
    for problem, estimate in found.items():
        of_group = groups.setdefault((estimate.estimator, problem.level, problem.position), {})
        of_group[problem.block] = estimate.nats / NATS_PER_BIT
    return [_values(*group, bits) for group, bits in groups.items()]


def _values(estimator: str, level: str, position: int, bits: dict[int, float]) -> str:
    low, high = min(bits.values()), max(bits.values())
    where = f"block{'' if len(bits) == 1 else 's'} {format_selection(tuple(sorted(bits)))}"
    what = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
    return f"{where}, {'lone token, ' if level == 'micro' else ''}position {position}: {estimator} {what} bits"
