"""Stage two: from stored states to Information Emergence in the store. The only place that knows the order of its steps.

corpus rows -> ceilings -> plan -> slabs -> estimates, stack by stack -> emergence -> results
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ie_store.errors import FlaggedError, InputError, StoreError
from ie_store.estimate.device import choose_device, describe_session
from ie_store.estimate.emergence import emergence
from ie_store.estimate.measure import StackStates, corrections, examine, known_value, measure_stack
from ie_store.estimate.outcomes import CorpusRows
from ie_store.estimate.problems import STACK_BYTES, Stack, Targets, checkable_targets, choose_targets, only, plan_stacks
from ie_store.estimate.slabs import stream_states
from ie_store.estimate.split import FEWEST_SEQUENCES
from ie_store.estimators import EXACT, EstimatorSpec, estimator_spec, resolve
from ie_store.options import EstimateSpec, OnProgress, Progress, ignore_progress
from ie_store.specs import Emergence, MIEstimate, Problem, digest
from ie_store.store.read import DatasetReader, open_reader
from ie_store.store.results import ResultsWriter, open_results, read_results


@dataclass(frozen=True, kw_only=True)
class Task:
    """One estimator and what it still has to do."""

    estimator: EstimatorSpec[Any]
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
    with ExitStack() as opened:
        session = describe_session(device)
        writers = [opened.enter_context(open_results(spec.store, spec.name, task.estimator, session)) for task in tasks]
        _commit_exact_values(writers[0], corpus, reader)
        stacks = plan_stacks(targets, reader.layout, STACK_BYTES[device.type])
        _measure_all(reader, stacks, tasks, writers, corpus, device, on_progress)
        found = [_combine(task, writer, targets, reader) for task, writer in zip(tasks, writers, strict=True)]
    emergences = [item for items in found for item in items]
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
    choose = checkable_targets if not any(estimator.row.needs_states for estimator in spec.estimators) else choose_targets
    return choose(reader.layout, spec.blocks, spec.positions)


def _with_exact(estimators: tuple[EstimatorSpec[Any], ...]) -> list[EstimatorSpec[Any]]:
    """Each estimator once, by what is relevant to it, and exact before all."""
    every = (estimator_spec(EXACT), *estimators)
    return list({digest(estimator.identity): estimator for estimator in every}.values())


def _task(spec: EstimateSpec, estimator: EstimatorSpec[Any], targets: Targets) -> Task:
    stored = read_results(spec.store, spec.name, estimator)
    if not estimator.row.needs_states:  # its values need no states; what is done is a target whose states were looked at
        stored = {p: e for p, e in stored.items() if not np.isnan(e.diagnostics.get("collisions", np.nan))}
    return Task(estimator=estimator, missing=frozenset(targets.problems) - stored.keys())


def _require_possible(task: Task, spec: EstimateSpec, reader: DatasetReader, corpus: CorpusRows, device: torch.device) -> None:
    layout = reader.layout
    if task.estimator.row.trained and layout.num_sequences < FEWEST_SEQUENCES:
        raise InputError(
            f"{reader.address} has {layout.num_sequences} sequences; {task.estimator.name} needs at least "
            f"{FEWEST_SEQUENCES} to train and test on: extract more, or use --estimator exact or noise"
        )
    if task.estimator.row.require_consent is not None and task.missing and not spec.yes:
        outcomes = [corpus.num_outcomes(problem) for problem in task.missing]
        resolve(task.estimator.row.require_consent)(task.estimator, layout.hidden_size, outcomes, layout.num_sequences, device)


def _commit_exact_values(writer: ResultsWriter, corpus: CorpusRows, reader: DatasetReader) -> None:
    """The ceilings of every block and position, whatever states are stored; for a sample also corrected entropies."""
    is_sample = not reader.corpus.complete
    values: dict[Problem, MIEstimate] = {}
    for position in range(reader.layout.num_positions):
        of_prefix = corrections(corpus.prefixes(position)) if is_sample else {}
        of_token = corrections(corpus.last_tokens(position)) if is_sample else {}
        for block in range(reader.layout.num_layers - 1):
            macro = Problem(level="macro", block=block, position=position)
            micro = Problem(level="micro", block=block, position=position)
            for problem, extra in ((macro, of_prefix if block else of_token), (micro, of_token)):
                values[problem] = replace(known_value(EXACT, corpus, problem), diagnostics=extra)
    writer.commit({problem: value for problem, value in values.items() if problem not in writer.estimates})


def _measure_all(
    reader: DatasetReader,
    stacks: tuple[Stack, ...],
    tasks: list[Task],
    writers: list[ResultsWriter],
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
                if not task.estimator.row.needs_states:
                    found = {problem: writer.estimates[problem] for problem in stack.problems}
                else:
                    found = measure_stack(task.estimator, states, on_progress)
                writer.commit(examine(found, states))
                done += len(found)
                on_progress(Progress(stage="estimates", done=done, total=total, unit="problems"))


def _combine(task: Task, writer: ResultsWriter, targets: Targets, reader: DatasetReader) -> list[Emergence]:
    """Emergences of the targets from all estimates there are; for exact, those of the whole grid are kept too."""
    layout, found = reader.layout, writer.estimates
    whole = Targets(blocks=tuple(range(layout.num_layers - 1)), positions=tuple(range(layout.num_positions)))
    made = {}
    for block in (targets if task.estimator.row.needs_states else whole).blocks:
        for position in (targets if task.estimator.row.needs_states else whole).positions:
            macro = found[Problem(level="macro", block=block, position=position)]
            micro = [found[Problem(level="micro", block=block, position=s)] for s in range(position + 1)]
            made[block, position] = emergence(block, position, macro, micro)
    writer.set_emergences(made.values())
    return [e for (block, position), e in made.items() if block in targets.blocks and position in targets.positions]


def _require_unflagged(emergences: list[Emergence]) -> None:
    flagged = [e for e in emergences if e.outcome.flagged or e.flags]
    if flagged:
        lines = [f"  {e.estimator}, block {e.block}, position {e.position}: {e.outcome}" for e in flagged]
        raise FlaggedError(
            f"{len(flagged)} of {len(emergences)} results carry a flag (all are written; 'ie-store show' says why):\n"
            + "\n".join(lines)
        )
