"""Stage one in its order: prepare, plan, compute and write, audit."""

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from ie_store.errors import DiskSpaceError, IeStoreError, NonFiniteError, StoreError
from ie_store.extract.audit import audit, reference_model, require_close
from ie_store.extract.forecast_speed import ModelSpeed, measure_disk, measure_model
from ie_store.extract.forward.states import HostBuffer
from ie_store.extract.model.load import TORCH_DTYPES
from ie_store.extract.model.quiet import quiet_logging
from ie_store.extract.pipeline import ShardPipeline
from ie_store.extract.plan import Plan, make_plan, require_room
from ie_store.extract.prepare import PreparedExtract, prepare
from ie_store.extract.report import ExtractReport
from ie_store.extract.work import WorkItem
from ie_store.options import ExtractSpec, OnProgress, Progress, ignore_progress
from ie_store.specs import StoreLayout
from ie_store.store.dataset.handle import require_identity
from ie_store.store.dataset.reader import open_reader
from ie_store.store.dataset.repair import damaged_shards
from ie_store.store.dataset.writer import DatasetWriter
from ie_store.store.files.open import open_storage
from ie_store.store.format.arrays import coordinate_values

OnPlan = Callable[[Plan], None]


def ignore_plan(plan: Plan) -> None:
    """The default `OnPlan`: says nothing."""


def plan_extract(spec: ExtractSpec) -> Plan:
    """What `extract` would do, compute and write, with a time measured on a few batches. Writes nothing.

    Raises:
        InputError: something in ``spec`` cannot be used as given.
        IdentityError: a dataset of the same name was made from something else.
    """
    with quiet_logging():
        job = prepare(spec)
        _require_same(job)
        if spec.repair and job.stored_same is not None:
            found = damaged_shards(job.stored_same.dataset, ignore_progress)
            job = replace(job, damaged=found)
        return _plan(job, job.missing_items())


def extract(spec: ExtractSpec, on_progress: OnProgress = ignore_progress, on_plan: OnPlan = ignore_plan) -> ExtractReport:
    """Run a model over a corpus and store the hidden states of every layer and position; resume where a run was cut off.

    With ``spec.repair`` every stored chunk is checked first, and what is damaged is computed again.

    Args:
        spec: what to do.
        on_progress: called with chunks checked, rows computed and bytes written.
        on_plan: told what will be done before anything is.

    Raises:
        InputError: something in ``spec`` cannot be used as given; the store is untouched.
        IdentityError: a dataset of the same name was made from something else.
        BusyError: a living process writes the dataset.
        DiskSpaceError: the estimated bytes do not fit, or the disk is full.
        NonFiniteError: a state that cannot be stored; finished shards stay and the dataset says why it is incomplete.
        StoreError: the audit finds states that cannot be right.
    """
    with quiet_logging():
        job = prepare(spec)
        _require_same(job)
        if spec.repair and job.stored_same is not None:
            job = _repaired(job, on_progress)
        units = job.missing_items()
        plan = _plan(job, units)
        if job.stored_same is not None and job.stored_same.complete and not units:
            return _reused(job, plan)
        require_room(plan, open_storage(spec.store).address(job.name))
        on_plan(plan)
        with job.open_writer() as writer:
            if job.stored_same is not None and job.stored_same.complete:
                writer.mark_incomplete(f"{plan.missing_shards} shards were lost and are computed again")
            return _run(job, plan, writer, on_progress)


def _require_same(job: PreparedExtract) -> None:
    """Refuse what the store would refuse, before time is spent on a plan."""
    if job.stored is not None and not job.spec.replace:
        require_identity(job.stored.dataset, job.identity)


def _repaired(job: PreparedExtract, on_progress: OnProgress) -> PreparedExtract:
    """The job once what is damaged is fixed or missing."""
    corpus = job.corpus
    with job.open_writer() as writer:
        writer.repair(coordinate_values(writer.layout, corpus.tokens, corpus.source_row, corpus.labels), on_progress)
    return replace(job, stored=open_reader(job.spec.store, job.name))


def _plan(job: PreparedExtract, units: list[WorkItem]) -> Plan:
    files = open_storage(job.spec.store)
    return make_plan(
        job.engine,
        job.corpus,
        units,
        name=job.name,
        speed=measure_model(job.engine, units[-1], units[-1].rows(job.corpus)[0])
        if units
        else ModelSpeed(cost_per_second=math.inf),
        disk_rate=measure_disk(files.address()) if units and files.storage_options is None else None,
        free_bytes=files.free_bytes(),
        audit_rows=job.spec.audit_rows,
    )


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


def _run(job: PreparedExtract, plan: Plan, writer: DatasetWriter, on_progress: OnProgress) -> ExtractReport:
    start, clock = time.perf_counter(), _Clock()
    units = job.missing_items()
    try:
        num_bytes = _compute_and_write(job, units, writer, on_progress, clock)
        with clock.timing("audit"):
            result = _audit(job, on_progress)
    except (NonFiniteError, DiskSpaceError, StoreError) as error:
        with contextlib.suppress(IeStoreError, OSError):
            writer.mark_incomplete(str(error))
        raise
    writer.mark_complete(result)
    return ExtractReport(
        name=job.name,
        address=open_storage(job.spec.store).address(job.name),
        plan=plan,
        reused=False,
        num_rows=sum(unit.num_rows for unit in units if unit.level == "macro"),
        num_shards=sum(len(unit.shards) for unit in units),
        num_bytes=num_bytes,
        forward_seconds=clock.forward,
        waiting_seconds=clock.waiting,
        audit_seconds=clock.audit,
        seconds=time.perf_counter() - start,
        audit=result,
    )


def _compute_and_write(
    job: PreparedExtract, units: list[WorkItem], writer: DatasetWriter, on_progress: OnProgress, clock: _Clock
) -> int:
    layout, device = job.engine.layout, job.engine.model.device
    dtype = TORCH_DTYPES[layout.stored_dtype]
    size = max((_num_values(layout, unit) for unit in units), default=0)
    buffers = [HostBuffer(size, dtype, device) for _ in range(min(2, len(units)))]
    totals = {level: sum(unit.num_rows for unit in units if unit.level == level) for level in ("micro", "macro")}
    done = dict.fromkeys(totals, 0)
    with ShardPipeline(writer, buffers) as pipeline:
        for unit in units:
            with clock.timing("waiting"):
                buffer = pipeline.free_buffer()

            def tell(tokens: int, all_tokens: int, unit: WorkItem = unit) -> None:
                rows = done[unit.level] + unit.num_rows * tokens // all_tokens
                on_progress(_progress(f"{unit.level} states", rows, totals[unit.level], pipeline.num_bytes))

            with clock.timing("forward"):
                states = job.engine.fill(unit.level, *unit.rows(job.corpus), buffer, tell)
            pipeline.write(unit, buffer, states)
            done[unit.level] += unit.num_rows
        with clock.timing("waiting"):
            pipeline.finish()
        return pipeline.num_bytes


def _num_values(layout: StoreLayout, unit: WorkItem) -> int:
    return len(layout.level(unit.level).stored_cells) * unit.num_rows * layout.hidden_size


def _audit(job: PreparedExtract, on_progress: OnProgress) -> dict[str, Any]:
    engine = replace(job.engine, model=reference_model(job.spec, job.engine.model))
    reader = open_reader(job.spec.store, job.name)
    result = audit(
        engine, reader, job.spec.audit_rows, job.spec.seed, lambda done, total: on_progress(_progress("audit", done, total, 0))
    )
    require_close(result, job.engine.model.spec.compute_dtype, reader.address)
    return result


def _progress(stage: str, done: int, total: int, num_bytes: int) -> Progress:
    return Progress(stage=stage, done=done, total=total, unit="rows", num_bytes=num_bytes)


def _reused(job: PreparedExtract, plan: Plan) -> ExtractReport:
    stored = job.stored_same
    assert stored is not None, "the caller looked"
    return ExtractReport(
        name=job.name,
        address=stored.address,
        plan=plan,
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
