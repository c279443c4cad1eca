"""An extraction once nothing is left to refuse: prepare, plan, compute and write, audit."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from ie_store.cluster.crew import Crew, open_crew
from ie_store.cluster.hand_out import HandOut
from ie_store.corpus.rows import Corpus
from ie_store.errors import DiskSpaceError, IeStoreError, NonFiniteError, StoreError
from ie_store.extract.audit import audit, reference_model, require_close
from ie_store.extract.engine import Engine
from ie_store.extract.forecast import Forecast, audit_cost_of, make_forecast, require_room
from ie_store.extract.forecast_speed import measure_speed
from ie_store.extract.forward.states import HostBuffer
from ie_store.extract.model.load import TORCH_DTYPES
from ie_store.extract.model.quiet import quiet_logging
from ie_store.extract.pipeline import ShardPipeline
from ie_store.extract.plan import ExtractPlan, make_plan
from ie_store.extract.prepare import PreparedExtract, prepare
from ie_store.extract.report import ExtractReport
from ie_store.extract.run_progress import RunProgress
from ie_store.extract.shared_work import SharedWork
from ie_store.extract.work import WorkItem
from ie_store.options import ExtractSpec, OnProgress, Progress, ignore_progress
from ie_store.store.catalog import bytes_below
from ie_store.store.dataset.reader import open_reader
from ie_store.store.dataset.repair import damaged_shards
from ie_store.store.dataset.writer import DatasetWriter
from ie_store.store.files.open import open_storage
from ie_store.store.files.protocol import Storage
from ie_store.store.format.arrays import coordinate_values

OnPlan = Callable[[ExtractPlan, Forecast], None]


def plan_only(spec: ExtractSpec) -> tuple[ExtractPlan, Forecast]:
    """What `perform` would do, and what that should cost at the speed of a few batches. Writes nothing."""
    with quiet_logging():
        job = prepare(spec)
        if spec.repair and job.stored_same is not None:
            found = damaged_shards(job.stored_same.dataset, ignore_progress)
            job = replace(job, damaged=found)
        planned = make_plan(job)
        return planned, _forecast(job, planned)


def perform(spec: ExtractSpec, held: Storage | None, on_progress: OnProgress, on_plan: OnPlan) -> ExtractReport:
    """Do what ``spec`` asks; `run.extract` says how. ``held`` is the storage through which the dataset is held, where it is."""
    crew = open_crew(spec.workers, spec.scheduler)
    with quiet_logging():
        job = prepare(spec, held)
        if spec.repair and job.stored_same is not None:
            job = _repaired(job, on_progress)
        plan = make_plan(job)
        forecast = _forecast(job, plan)
        if job.stored_same is not None and job.stored_same.complete and not plan.items:
            return _reused(job, plan, forecast)
        files = open_storage(spec.store)
        goes = spec.replace and job.stored is not None and job.stored_same is None
        require_room(forecast, files.address(job.name), bytes_below(files, job.name) if goes else 0)
        on_plan(plan, forecast)
        with job.open_writer() as writer:
            if job.stored_same is not None and job.stored_same.complete:
                writer.mark_incomplete(f"{plan.missing_shards} shards were lost and are computed again")
            return _run(job, plan, forecast, writer, crew, on_progress)


def _repaired(job: PreparedExtract, on_progress: OnProgress) -> PreparedExtract:
    """The job once what is damaged is fixed or missing."""
    corpus = job.corpus
    with job.open_writer() as writer:
        arrays = coordinate_values(writer.layout, corpus.tokens, corpus.source_row, corpus.labels, corpus.texts)
        writer.repair(arrays, on_progress)
    return replace(job, stored=open_reader(job.spec.store, job.name))


def _forecast(job: PreparedExtract, plan: ExtractPlan) -> Forecast:
    return make_forecast(plan, measure_speed(job.engine, job.corpus, plan.items, open_storage(job.spec.store)))


@dataclass
class _Clock:
    """Where the time of a run went, in seconds."""

    forward: float = 0.0
    waiting: float = 0.0
    audit: float = 0.0

    @contextlib.contextmanager
    def timing(self, what: str) -> Any:
        start = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, what, getattr(self, what) + time.perf_counter() - start)


def _run(
    job: PreparedExtract,
    plan: ExtractPlan,
    forecast: Forecast,
    writer: DatasetWriter,
    crew: Crew | None,
    on_progress: OnProgress,
) -> ExtractReport:
    start, clock = time.perf_counter(), _Clock()
    try:
        num_bytes = _compute_and_write(job, plan, writer, crew, on_progress, clock)
        with clock.timing("audit"):
            result = _audit(job, plan.audit_rows, on_progress)
    except (NonFiniteError, DiskSpaceError, StoreError) as error:
        with contextlib.suppress(IeStoreError, OSError):
            writer.mark_incomplete(str(error))
        raise
    writer.mark_complete(result)
    return ExtractReport(
        name=job.name,
        address=open_storage(job.spec.store).address(job.name),
        plan=plan,
        forecast=forecast,
        reused=False,
        num_rows=sum(item.num_rows for item in plan.items if item.level == "macro"),
        num_shards=plan.missing_shards,
        num_bytes=num_bytes,
        forward_seconds=clock.forward,
        waiting_seconds=clock.waiting,
        audit_seconds=clock.audit,
        seconds=time.perf_counter() - start,
        audit=result,
    )


def _compute_and_write(
    job: PreparedExtract, plan: ExtractPlan, writer: DatasetWriter, crew: Crew | None, on_progress: OnProgress, clock: _Clock
) -> int:
    progress = RunProgress(plan.items, audit_cost_of(plan), on_progress)
    if crew is None or not plan.items:
        return _alone(job.engine, job.corpus, plan.items, writer, progress, clock)
    with clock.timing("forward"), crew:
        HandOut(SharedWork(job, plan, writer, progress), crew).run()
    writer.sweep()
    return progress.num_bytes


def _alone(
    engine: Engine, corpus: Corpus, items: tuple[WorkItem, ...], writer: DatasetWriter, progress: RunProgress, clock: _Clock
) -> int:
    """Compute and write in this process, both at the same time."""
    dtype, device = TORCH_DTYPES[engine.layout.stored_dtype], engine.model.device
    size = max(map(engine.num_values, items), default=0)
    buffers = [HostBuffer(size, dtype, device) for _ in range(min(2, len(items)))]
    with ShardPipeline(writer, buffers) as pipeline:
        for item in items:
            with clock.timing("waiting"):
                buffer = pipeline.free_buffer()
            with clock.timing("forward"):
                states = engine.fill(item, *item.rows(corpus), buffer, partial(progress.step, item))
            pipeline.write(item, buffer, states)
            progress.finished(item, pipeline.num_bytes - progress.num_bytes)
        with clock.timing("waiting"):
            pipeline.finish()
        return pipeline.num_bytes


def _audit(job: PreparedExtract, num_rows: int, on_progress: OnProgress) -> dict[str, Any]:
    engine = replace(job.engine, model=reference_model(job.spec, job.engine.model))
    reader = open_reader(job.spec.store, job.name)
    result = audit(engine, reader, num_rows, job.spec.seed, lambda done, total: on_progress(_progress("audit", done, total)))
    require_close(result, job.engine.model.spec.compute_dtype, reader.address)
    return result


def _progress(stage: str, done: int, total: int) -> Progress:
    return Progress(stage=stage, done=done, total=total, unit="rows")


def _reused(job: PreparedExtract, plan: ExtractPlan, forecast: Forecast) -> ExtractReport:
    stored = job.stored_same
    assert stored is not None, "the caller looked"
    return ExtractReport(
        name=job.name,
        address=stored.address,
        plan=plan,
        forecast=forecast,
        reused=True,
        num_rows=0,
        num_shards=0,
        num_bytes=0,
        forward_seconds=0.0,
        waiting_seconds=0.0,
        audit_seconds=0.0,
        seconds=0.0,
        audit=asdict(stored.attributes.audit) if stored.attributes.audit else {},
    )
