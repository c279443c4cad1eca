"""Watches a run of stage two: what is done of how much, what is left by it, when time is up, when arrays are due."""

from functools import partial
from time import monotonic
from typing import Any

from ie_store.estimate.costs import Costs, RowsOf
from ie_store.estimate.emergence import derive_emergences
from ie_store.estimate.plan import EstimatePlan, WorkItem
from ie_store.estimators import EXACT, EstimatorSpec
from ie_store.options import OnProgress, Progress
from ie_store.specs import MIEstimate, Problem
from ie_store.store.results.estimate_variables import estimates_of, values_of
from ie_store.store.results.writer import ResultGroup

Groups = dict[EstimatorSpec[Any], ResultGroup]
ASSEMBLE_SECONDS = 10.0
"""While work goes on, arrays for other readers are put together at most this often."""


class TimeIsUp(Exception):
    """The time limit of a run: work ends here, with what is done."""


class Watch:
    """What happens in a run between its items."""

    def __init__(
        self,
        plan: EstimatePlan,
        groups: Groups,
        *,
        rows: RowsOf,
        num_known: int,
        deadline: float | None,
        on_progress: OnProgress,
    ) -> None:
        """Begin.

        Args:
            plan: what is to be done.
            groups: of results, by estimator.
            rows: counts rows of items.
            num_known: problems that were done before.
            deadline: on the clock of `monotonic`; None for no limit.
            on_progress: told of every item.
        """
        self.at_once = 1
        """Items that are worked on at a time."""
        self._groups, self._on_progress, self._deadline = groups, on_progress, deadline
        self._left = dict.fromkeys(plan.items)
        self._costs = Costs(rows)
        self._num_known, self._num_problems = num_known, plan.num_problems
        self._assembled = monotonic()
        self._tell({})

    @property
    def num_done(self) -> int:
        """Problems done in this run."""
        return self._num_problems - sum(len(item.batch.problems) for item in self._left)

    def step(self, progress: Progress) -> None:
        """A part of an item is done.

        Raises:
            TimeIsUp: and the item is not finished.
        """
        self.require_time()
        self._on_progress(progress)

    def finished(self, item: WorkItem, seconds: float | None) -> None:
        """An item has its record, after ``seconds``; None where nobody knows.

        Raises:
            TimeIsUp: and others are left.
        """
        if seconds is not None:
            self._costs.add(item, seconds)
        del self._left[item]
        group = self._groups[item.estimator]
        values = values_of(group.arrays_of(item.key))
        self._tell({} if item.estimator.name == EXACT else estimates_of(values, group.flags, item.estimator.name))
        if monotonic() - self._assembled > ASSEMBLE_SECONDS:
            group.assemble(partial(derive_emergences, item.estimator.name))
            self._assembled = monotonic()
        if self._left:
            self.require_time()

    def seconds_to_go(self) -> float | None:
        """Until the time limit; None where there is none."""
        return None if self._deadline is None else self._deadline - monotonic()

    def require_time(self) -> None:
        """Raise `TimeIsUp` where it is."""
        if self._deadline is not None and monotonic() >= self._deadline:
            raise TimeIsUp

    def _tell(self, found: dict[Problem, MIEstimate]) -> None:
        left = self._costs.seconds_left(list(self._left))
        self._on_progress(
            Progress(
                stage="estimates",
                done=self._num_known + self.num_done,
                total=self._num_known + self._num_problems,
                unit="problems",
                is_whole_run=True,
                seconds_left=None if left is None else left / max(1, min(self.at_once, len(self._left))),
                found=found,
            )
        )
