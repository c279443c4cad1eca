"""Stage two: from stored states to Information Emergence in the store. The only place that knows the order of its steps.

corpus rows -> ceilings -> plan -> slabs -> items of work, one record each -> emergence -> arrays
"""

from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import Any

import numpy as np
import torch

from ie_store.cluster.crew import open_crew, threads_of_each
from ie_store.cluster.hand_out import HandOut
from ie_store.errors import InputError
from ie_store.estimate.costs import rows_of
from ie_store.estimate.critics.folds import FEWEST_SEQUENCES
from ie_store.estimate.device import choose_device, describe_session
from ie_store.estimate.emergence import derive_emergences, grid_emergences
from ie_store.estimate.exact.prefix_index import PrefixIndex
from ie_store.estimate.exact_record import exact_record
from ie_store.estimate.execute import Workplace, execute
from ie_store.estimate.forecast import EstimateForecast, is_worth_a_forecast, make_forecast
from ie_store.estimate.memory import peak_bytes, reset_peak
from ie_store.estimate.memory_budget import MemoryBudget, default_bytes, demands_of, make_budget
from ie_store.estimate.plan import EstimatePlan, make_plan
from ie_store.estimate.planned_work import PlannedWork
from ie_store.estimate.problems import BATCH_BYTES, Targets, asked_targets, checkable_targets, choose_targets
from ie_store.estimate.read import open_complete, read_prefixes
from ie_store.estimate.report import EstimateReport
from ie_store.estimate.shelf import Shelf
from ie_store.estimate.stored_rows import Room
from ie_store.estimate.watch import Groups, TimeIsUp, Watch
from ie_store.estimators import EXACT, EstimatorSpec, estimator_spec, resolve
from ie_store.options import EstimateSpec, OnProgress, ignore_progress
from ie_store.specs import Emergence, MIEstimate, Problem, digest
from ie_store.store.dataset.reader import DatasetReader
from ie_store.store.results.estimate_variables import estimates_of, values_of
from ie_store.store.results.writer import ResultGroup, open_results

Missing = dict[EstimatorSpec[Any], frozenset[Problem]]


def estimate(spec: EstimateSpec, on_progress: OnProgress = ignore_progress) -> list[Emergence]:
    """Estimate Information Emergence of a stored dataset and write it into the store; resumes what was cut off.

    Args:
        spec: dataset, estimators, blocks and positions.
        on_progress: called with training steps and finished problems.

    Returns:
        The emergences asked for, by estimator (exact first), block and position; also those estimated earlier.

    Raises:
        InputError: an option that cannot be, states that are not stored, too few sequences, mine-paper without consent.
        StoreError: no such dataset, incomplete or damaged.
        NonFiniteError: NaN or Inf in the states.
        BusyError: a living process estimates the same.
        FlaggedError: ``spec.strict`` and a result carries a flag; everything is written.
    """
    report = run_estimate(spec, on_progress)
    if spec.strict:
        report.require_unflagged()
    return report.emergences


def run_estimate(spec: EstimateSpec, on_progress: OnProgress = ignore_progress) -> EstimateReport:
    """As `estimate`, and how the run ended; flags raise nothing here."""
    started = monotonic()
    job = _prepare(spec)
    crew = open_crew(job.workers, spec.scheduler)
    workplace = Workplace(corpus=job.corpus, room=job.room, session=describe_session(job.room.device))
    with ExitStack() as held:
        for group in _to_hold(job.groups):
            held.enter_context(group.hold_run())
        for group in job.groups.values():
            group.refresh()
        job = job.with_plan()  # of what others have not finished meanwhile
        exact = job.groups[estimator_spec(EXACT)]
        exact.commit(exact_record(job.corpus, job.reader.layout, job.reader.corpus, workplace.session))
        exact.assemble(partial(derive_emergences, EXACT))
        worth = crew is None and spec.time_limit is None and is_worth_a_forecast(job.plan, job.corpus)
        shelf = held.enter_context(Shelf(job.reader, job.room))
        forecast = make_forecast(job.plan, job.corpus, shelf, job.budget) if worth else None
        reset_peak()
        began = monotonic()
        watch = Watch(
            job.plan,
            job.groups,
            rows=rows_of(job.corpus),
            num_known=job.num_problems - job.plan.num_problems,
            deadline=None if spec.time_limit_seconds is None else started + spec.time_limit_seconds,
            on_progress=on_progress,
        )
        try:
            with suppress(TimeIsUp):
                if crew is None or not job.plan.items:
                    _carry_out(job.plan, job.groups, shelf, workplace, watch)
                else:
                    with crew:
                        work = PlannedWork(job.plan, job.groups, job.reader.dataset.identity_digest, spec, job.budget, watch)
                        HandOut(work, crew).run()
        finally:
            for one, group in job.groups.items():
                group.assemble(partial(derive_emergences, one.name))
    return EstimateReport(
        emergences=[e for one, group in job.groups.items() for e in _of_targets(one, group, job.shown)],
        num_problems=job.num_problems,
        num_done=job.num_problems - job.plan.num_problems + watch.num_done,
        num_done_now=watch.num_done,
        seconds=monotonic() - began,
        waited_seconds=shelf.waited_seconds if crew is None else None,
        peak_bytes=peak_bytes() if crew is None else None,
        forecast=forecast,
    )


def plan_estimate(spec: EstimateSpec) -> tuple[EstimatePlan, EstimateForecast]:
    """What `estimate` would do, and what that should cost; a short part of it is tried. Writes nothing.

    Raises:
        InputError, StoreError, NonFiniteError: as `estimate`.
    """
    job = _prepare(spec)
    with Shelf(job.reader, job.room) as shelf:
        return job.plan, make_forecast(job.plan, job.corpus, shelf, job.budget)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What is asked for, and what is left of it."""

    reader: DatasetReader
    budget: MemoryBudget
    room: Room
    workers: int
    """Processes of this machine that share the work; no more than there are items."""
    targets: Targets
    shown: Targets
    """Those and, where no states are needed, those that are not stored."""
    groups: Groups
    corpus: PrefixIndex
    plan: EstimatePlan

    @property
    def num_problems(self) -> int:
        """Of all estimators, those that are done too."""
        return len(self.groups) * len(self.targets.problems)

    def with_plan(self) -> "_Job":
        """The same with a plan of what has no record now."""
        missing = _missing(self.groups, self.targets)
        return replace(self, plan=make_plan(self.targets, self.reader.layout, missing, BATCH_BYTES[self.room.device.type]))


def _prepare(spec: EstimateSpec) -> _Job:
    reader = open_complete(spec.store, spec.name)
    device = choose_device(spec.device)
    targets = _targets(spec, reader)
    groups = {one: open_results(reader.dataset, one.identity) for one in _with_exact(spec.estimators)}
    corpus = read_prefixes(reader)
    missing = _missing(groups, targets)
    _require_possible(missing, spec, reader, corpus, device)
    plan = make_plan(targets, reader.layout, missing, BATCH_BYTES[device.type])
    workers = min(spec.workers, len(plan.items))
    threads = threads_of_each(workers) if workers else torch.get_num_threads()
    demands = demands_of(plan.items, reader.layout, rows_of(corpus), threads)
    most = spec.memory_bytes or default_bytes(device)
    budget = make_budget(most, demands, reader.layout, "fewer --blocks or another --estimator", max(1, workers))
    return _Job(
        reader=reader,
        budget=budget,
        room=budget.room(device),
        workers=workers,
        targets=targets,
        shown=targets if _needs_states(spec) else asked_targets(reader.layout, spec.blocks, spec.positions),
        groups=groups,
        corpus=corpus,
        plan=plan,
    )


def _missing(groups: Groups, targets: Targets) -> Missing:
    return {one: frozenset(targets.problems) - _known(one, group).keys() for one, group in groups.items()}


def _targets(spec: EstimateSpec, reader: DatasetReader) -> Targets:
    choose = choose_targets if _needs_states(spec) else checkable_targets
    return choose(reader.layout, spec.blocks, spec.positions)


def _needs_states(spec: EstimateSpec) -> bool:
    return any(estimator.row.needs_states for estimator in spec.estimators)


def _with_exact(estimators: tuple[EstimatorSpec[Any], ...]) -> list[EstimatorSpec[Any]]:
    """Each estimator once, and exact before all."""
    return list({digest(estimator.identity): estimator for estimator in (estimator_spec(EXACT), *estimators)}.values())


def _known(estimator: EstimatorSpec[Any], group: ResultGroup) -> dict[Problem, MIEstimate]:
    """What is recorded; of values that need no states, only those whose states were looked at."""
    found = estimates_of(values_of(group.arrays), group.flags, estimator.name)
    if estimator.row.needs_states:
        return found
    return {problem: value for problem, value in found.items() if not np.isnan(value.diagnostics.get("collisions", np.nan))}


def _require_possible(
    missing: Missing, spec: EstimateSpec, reader: DatasetReader, corpus: PrefixIndex, device: torch.device
) -> None:
    layout = reader.layout
    for estimator, problems in missing.items():
        if estimator.row.trained and layout.num_sequences < FEWEST_SEQUENCES:
            raise InputError(
                f"{reader.address} has {layout.num_sequences} sequences; {estimator.name} needs at least "
                f"{FEWEST_SEQUENCES} to train and test on: extract more, or use --estimator exact or noise"
            )
        if estimator.row.require_consent is not None and problems and not spec.yes:
            outcomes = [corpus.num_distinct(problem) for problem in problems]
            resolve(estimator.row.require_consent)(estimator, layout.hidden_size, outcomes, layout.num_sequences, device)


def _to_hold(groups: Groups) -> Iterable[ResultGroup]:
    """Groups that only this run may add to; exact values are the same whoever writes them, so they alone need no holding."""
    asked = [group for estimator, group in groups.items() if estimator.row.needs_states]
    return asked or groups.values()


def _carry_out(plan: EstimatePlan, groups: Groups, shelf: Shelf, workplace: Workplace, watch: Watch) -> None:
    """Go through the plan; a slab is read once for all items that touch it."""
    began = monotonic()
    for item, slabs in shelf.stream(plan.items):
        groups[item.estimator].commit(execute(item, slabs, workplace, watch.step))
        watch.finished(item, monotonic() - began)
        began = monotonic()


def _of_targets(estimator: EstimatorSpec[Any], group: ResultGroup, targets: Targets) -> list[Emergence]:
    found = grid_emergences(values_of(group.arrays), group.flags, estimator.name)
    return [e for (block, position), e in found.items() if block in targets.blocks and position in targets.positions]
