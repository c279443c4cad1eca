"""An extraction as work for workers: what an item is called, how a worker is told of it, when it is done."""

from collections.abc import Sequence
from dataclasses import replace

from ie_store.extract.plan import ExtractPlan
from ie_store.extract.prepare import PreparedExtract
from ie_store.extract.run_progress import RunProgress
from ie_store.extract.shard_errand import ShardErrand
from ie_store.extract.work import WorkItem
from ie_store.options import Progress
from ie_store.store.dataset.ledger import is_whole
from ie_store.store.dataset.writer import DatasetWriter


class SharedWork:
    """The items of a plan; an item is done when the ledger holds its shards."""

    def __init__(self, job: PreparedExtract, plan: ExtractPlan, writer: DatasetWriter, progress: RunProgress) -> None:
        self._dataset, self._plan, self._progress = writer.dataset, plan, progress
        self._sharing, self._session = job.engine.sharing, writer.number_of_session()
        self._spec = replace(job.spec, replace=False, repair=False, workers=0, scheduler=None)

    @property
    def items(self) -> Sequence[WorkItem]:
        """All of the plan."""
        return self._plan.items

    def name(self, item: WorkItem) -> str:
        """Level and rows."""
        return f"{item.level}-rows-{item.start}-{item.stop - 1}"

    def errand(self, item: WorkItem, threads: int) -> ShardErrand:
        """The item, what it is made from, and where it goes."""
        return ShardErrand(
            spec=self._spec,
            identity_digest=self._dataset.identity_digest,
            sharing=self._sharing,
            session=self._session,
            item=item,
            threads=threads,
        )

    def is_done(self, item: WorkItem) -> bool:
        """True where all its shards count."""
        return all(is_whole(self._dataset, shard.level, shard.index) for shard in item.shards)

    def finished(self, item: WorkItem, seconds: float | None) -> None:
        """Tell how far the run is."""
        files, level = self._dataset.files, self._dataset.layout.level(item.level)
        sizes = (files.size(self._dataset.key(level.shard_key(shard.index))) for shard in item.shards)
        self._progress.finished(item, sum(size or 0 for size in sizes))

    def waiting(self, num_workers: int) -> None:
        """Tell that nobody works, where nobody does."""
        if not num_workers:
            self._progress.tell(Progress(stage="waiting for workers", done=0, total=1, unit="workers"))
