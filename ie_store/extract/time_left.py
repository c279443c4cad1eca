"""How long a run still takes, from what its work has cost of late; it corrects a forecast that the machine's load made wrong."""

import time
from collections.abc import Callable

SECONDS_BETWEEN_MARKS = 0.2


class TimeLeft:
    """Follows one run; `seconds` is asked as often as there is something to tell."""

    def __init__(self, total: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin now; ``total`` is all the work of the run, in any unit."""
        self._total, self._clock = total, clock
        self._marks = [(clock(), 0.0)]

    def seconds(self, done: float) -> float | None:
        """Seconds until the end once ``done`` of the work is done; None while nothing is.

        The rate is that of the later half of the time so far, so that load that came or went is soon forgotten.
        """
        now, began = self._clock(), self._marks[0][0]
        if now - self._marks[-1][0] >= SECONDS_BETWEEN_MARKS:
            self._marks.append((now, done))
        middle = began + (now - began) / 2
        since, before = max(mark for mark in self._marks if mark[0] <= middle)
        if done <= before or now <= since:
            return None
        return (self._total - done) * (now - since) / (done - before)
