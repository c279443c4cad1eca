"""A plan of stage two as work for workers: what an item is called, how a worker is told of it, when it is done."""

from collections.abc import Sequence

from ie_store.estimate.errand import Errand
from ie_store.estimate.memory_budget import MemoryBudget
from ie_store.estimate.plan import EstimatePlan, WorkItem
from ie_store.estimate.watch import Groups, Watch
from ie_store.options import EstimateSpec, Progress


class PlannedWork:
    """The items of a plan; an item is done when it has its record."""

    def __init__(
        self,
        plan: EstimatePlan,
        groups: Groups,
        activations_digest: str,
        spec: EstimateSpec,
        budget: MemoryBudget,
        watch: Watch,
    ) -> None:
        """``activations_digest`` is that of the identity of the dataset that was planned for, ``budget`` that of each worker."""
        self._plan, self._groups, self._digest, self._spec, self._watch = plan, groups, activations_digest, spec, watch
        self._budget = budget

    @property
    def items(self) -> Sequence[WorkItem]:
        """All of the plan."""
        return self._plan.items

    def name(self, item: WorkItem) -> str:
        """Estimator and key of the record."""
        return f"{item.estimator.name}-{item.key}"

    def errand(self, item: WorkItem, threads: int) -> Errand:
        """The item, where its dataset is, and the time that is left."""
        return Errand(
            store=self._spec.store,
            name=self._spec.name,
            activations_digest=self._digest,
            device=self._spec.device,
            budget=self._budget,
            is_default=self._spec.memory is None and not self._spec.workers,
            item=item,
            threads=threads,
            seconds=self._watch.seconds_to_go(),
        )

    def is_done(self, item: WorkItem) -> bool:
        """True where the item has its record."""
        return bool(self._groups[item.estimator].find(item.key))

    def finished(self, item: WorkItem, seconds: float | None) -> None:
        """Tell the watch.

        Raises:
            TimeIsUp: and others are left.
        """
        self._watch.finished(item, seconds)

    def waiting(self, num_workers: int) -> None:
        """Tell how many work.

        Raises:
            TimeIsUp: by the watch.
        """
        self._watch.at_once = max(1, num_workers)
        if num_workers:
            self._watch.require_time()
        else:
            self._watch.step(Progress(stage="waiting for workers", done=0, total=1, unit="workers"))
