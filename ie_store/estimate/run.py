"""Stage two: from stored states to Information Emergence in the store. The only place that knows the order of its steps.

corpus rows -> ceilings -> plan -> slabs -> estimates, stack by stack -> emergence -> results
"""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ie_store.errors import FlaggedError, InputError, StoreError
from ie_store.estimate.cost import require_agreed
from ie_store.estimate.device import choose_device, describe_session
from ie_store.estimate.emergence import grid_emergences
from ie_store.estimate.exact_results import ExactResults, exact_values
from ie_store.estimate.measure import StackStates, examine, measure_stack
from ie_store.estimate.outcomes import CorpusRows
from ie_store.estimate.paper import rows_per_step
from ie_store.estimate.problems import STACK_BYTES, Stack, Targets, checkable_targets, choose_targets, only, plan_stacks
from ie_store.estimate.slabs import stream_states
from ie_store.estimate.split import FEWEST_SEQUENCES
from ie_store.options import EstimateSpec, EstimatorSpec, OnProgress, Progress, ignore_progress, relevant_options
from ie_store.specs import Emergence, Problem, digest
from ie_store.store.read import DatasetReader, open_reader
from ie_store.store.results import ResultsWriter, hold_run, open_results, read_results

EXACT = EstimatorSpec(name="exact")
UNTRAINED = ("exact", "noise")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One estimator and what it still has to do."""

    estimator: EstimatorSpec
    missing: frozenset[Problem]


def estimate(spec: EstimateSpec, on_progress: OnProgress = ignore_progress) -> list[Emergence]:
    """Estimate Information Emergence of a stored dataset and write it into the store; resumes what was cut off.

    Args:
        spec: dataset, estimators, blocks and positions.
        on_progress: told of training steps and of finished problems.

    Returns:
        The emergences asked for, by estimator (exact first), block and position; also those estimated earlier.

    Raises:
        InputError: an option that cannot be, states that are not stored, too few sequences, mine-paper without consent.
        StoreError: no such dataset, incomplete or damaged.
        NonFiniteError: NaN or Inf in the states.
        BusyError: a living process estimates the same.
        FlaggedError: ``spec.strict`` and a result carries a flag; everything is written.
    """
    reader = _open_complete(spec.store, spec.name)
    device = choose_device(spec.device)
    targets = _targets(spec, reader)
    tasks = [_task(spec, estimator, targets) for estimator in _with_exact(spec.estimators)]
    corpus = CorpusRows(reader.tokens, reader.token_values, reader.corpus, reader.layout.num_layers - 1)
    for task in tasks:
        _require_possible(task, spec, reader, corpus, device)
    session = describe_session(device)
    with ExitStack() as opened:
        place, identity = (spec.store, spec.name), reader.identity
        opening = (open_results(*place, task.estimator, session, identity=identity) for task in tasks[1:])
        writers = [opened.enter_context(writer) for writer in opening]
        if not writers:
            opened.enter_context(hold_run(*place, EXACT, identity))
        exact = _exact(spec, reader, corpus, session)
        try:
            stacks = plan_stacks(targets, reader.layout, STACK_BYTES[device.type])
            _measure_all(reader, stacks, tasks, [exact, *writers], corpus, device, on_progress)
        finally:
            exact.flush()
        of_targets = [_of_targets(exact.emergences, targets)]
        for writer in writers:
            made = _of_targets(grid_emergences(writer.estimates), targets)
            writer.set_emergences(made)
            of_targets.append(made)
    emergences = [item for made in of_targets for item in made]
    if spec.strict:
        _require_unflagged(emergences)
    return emergences


def _open_complete(store: str, name: str) -> DatasetReader:
    reader = open_reader(store, name)
    if not reader.complete:
        raise StoreError(
            f"{reader.address} is incomplete: {reader.attributes.incomplete_reason}; "
            "run the same extract command again: it goes on where it stopped"
        )
    return reader


def _targets(spec: EstimateSpec, reader: DatasetReader) -> Targets:
    choose = checkable_targets if all(estimator.name == "exact" for estimator in spec.estimators) else choose_targets
    return choose(reader.layout, spec.blocks, spec.positions)


def _with_exact(estimators: tuple[EstimatorSpec, ...]) -> list[EstimatorSpec]:
    """Each estimator once, by what is relevant to it, and exact before all."""
    every = (EXACT, *estimators)
    return list({digest(relevant_options(estimator)): estimator for estimator in every}.values())


def _task(spec: EstimateSpec, estimator: EstimatorSpec, targets: Targets) -> Task:
    stored = read_results(spec.store, spec.name, estimator)
    if estimator.name == "exact":  # its values need no states; what is done is a target whose states were looked at
        stored = {p: e for p, e in stored.items() if not np.isnan(e.diagnostics.get("collisions", np.nan))}
    return Task(estimator=estimator, missing=frozenset(targets.problems) - stored.keys())


def _require_possible(task: Task, spec: EstimateSpec, reader: DatasetReader, corpus: CorpusRows, device: torch.device) -> None:
    layout = reader.layout
    if task.estimator.name not in UNTRAINED and layout.num_sequences < FEWEST_SEQUENCES:
        raise InputError(
            f"{reader.address} has {layout.num_sequences} sequences; {task.estimator.name} needs at least "
            f"{FEWEST_SEQUENCES} to train and test on: extract more, or use --estimator exact or noise"
        )
    if task.estimator.name == "mine-paper" and task.missing and not spec.yes:
        rows = [rows_per_step(corpus.num_outcomes(problem), layout.num_sequences) for problem in task.missing]
        require_agreed(task.estimator, layout.hidden_size, rows, device)


def _exact(spec: EstimateSpec, reader: DatasetReader, corpus: CorpusRows, session: dict[str, Any]) -> ExactResults:
    def open_writer(wait_seconds: float) -> ResultsWriter:
        place = (spec.store, spec.name, EXACT, session)
        return open_results(*place, identity=reader.identity, wait_seconds=wait_seconds, sheltered=True)

    return ExactResults(open_writer, exact_values(corpus, reader.layout, reader.corpus))


def _measure_all(
    reader: DatasetReader,
    stacks: tuple[Stack, ...],
    tasks: list[Task],
    writers: list[ExactResults | ResultsWriter],
    corpus: CorpusRows,
    device: torch.device,
    on_progress: OnProgress,
) -> None:
    """Go through the stacks once; every estimator takes from each what it misses."""
    total, done = sum(len(task.missing) for task in tasks), 0
    wanted = only(stacks, frozenset().union(*(task.missing for task in tasks)))
    for whole, slabs in stream_states(reader, wanted):
        for task, writer in zip(tasks, writers, strict=True):
            for stack in only([whole], task.missing):
                states = StackStates(stack=stack, slabs=slabs, corpus=corpus, device=device)
                if task.estimator.name == "exact":
                    found = {problem: writer.estimates[problem] for problem in stack.problems}
                else:
                    found = measure_stack(task.estimator, states, on_progress)
                writer.commit(examine(found, states))
                done += len(found)
                on_progress(Progress(stage="estimates", done=done, total=total, unit="problems"))


def _of_targets(emergences: dict[tuple[int, int], Emergence], targets: Targets) -> list[Emergence]:
    return [e for (block, position), e in emergences.items() if block in targets.blocks and position in targets.positions]


def _require_unflagged(emergences: list[Emergence]) -> None:
    flagged = [e for e in emergences if e.outcome.flagged or e.flags]
    if flagged:
        lines = [f"  {e.estimator}, block {e.block}, position {e.position}: {e.outcome}" for e in flagged]
        raise FlaggedError(
            f"{len(flagged)} of {len(emergences)} results carry a flag (all are written; 'ie-store show' says why):\n"
            + "\n".join(lines)
        )
