"""Diagnostics on request: can an estimator be believed on this dataset? A few problems, a verdict for each estimator."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ie_store.errors import InputError
from ie_store.estimate import self_consistency
from ie_store.estimate.batch_states import ItemShape
from ie_store.estimate.critics.rows import PairedSlabs
from ie_store.estimate.device import choose_device
from ie_store.estimate.estimators.cross_fit import cross_fit
from ie_store.estimate.memory_budget import Demand, MemoryBudget, default_bytes, make_budget
from ie_store.estimate.mutual_information import mutual_information
from ie_store.estimate.problems import choose_targets, stored_blocks
from ie_store.estimate.read import read_states
from ie_store.estimate.self_consistency import Answer, Measure, Rows
from ie_store.estimate.stored_rows import HeldRows, Room
from ie_store.estimators import EstimatorSpec, resolve
from ie_store.options import CheckSpec, OnProgress, Progress, ignore_progress
from ie_store.specs import MIEstimate, Slab
from ie_store.store.dataset.reader import DatasetReader, open_reader

SHUFFLES_AT_ONCE = 8
"""Shuffled problems that are trained together."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check on one macro problem."""

    block: int
    position: int
    answer: Answer


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether an estimator can be believed on a dataset, and why."""

    estimator: str
    believed: bool
    sentence: str
    findings: tuple[Finding, ...] = ()


def check(spec: CheckSpec, on_progress: OnProgress = ignore_progress) -> list[Verdict]:
    """Put estimators to the test on a few macro problems of a stored dataset. Writes nothing.

    Args:
        spec: dataset, estimators, and how much work.
        on_progress: called with every finished problem.

    Returns:
        One verdict per estimator, with what every check found, in nats.

    Raises:
        InputError: an option that cannot be, states that are not stored, or too little memory.
        StoreError: no such dataset, or damaged.
    """
    reader = open_reader(spec.store, spec.name)
    device = choose_device(spec.device)
    blocks, position = _choose(spec, reader)
    room = _budget(spec, reader, blocks, position, device).room(torch.device("cpu"))
    tested = [estimator for estimator in spec.estimators if estimator.row.belief is None]
    found: dict[EstimatorSpec[Any], list[Finding]] = {estimator: [] for estimator in spec.estimators}
    for block in blocks if tested else ():
        x, y = _draw(reader, block, position, spec, room)
        for estimator in tested:
            answers = _answers(estimator, x, y, spec, device)
            found[estimator] += [Finding(block=block, position=position, answer=answer) for answer in answers]
            done = sum(len(findings) for findings in found.values()) // len(answers)
            on_progress(Progress(stage="check", done=done, total=len(blocks) * len(tested), unit="problems"))
    return [_verdict(estimator, findings) for estimator, findings in found.items()]


def _choose(spec: CheckSpec, reader: DatasetReader) -> tuple[tuple[int, ...], int]:
    """The blocks and the one position to check."""
    blocks, stored = spec.blocks, stored_blocks(reader.layout)
    if blocks.strip() == "few":
        blocks = ",".join(str(block) for block in sorted({stored[0], stored[len(stored) // 2], stored[-1]})) if stored else "all"
    targets = choose_targets(reader.layout, blocks, spec.position)
    if len(targets.positions) != 1:
        raise InputError(f"position {spec.position!r} names {len(targets.positions)} positions; check one, for example 'last'")
    return targets.blocks, targets.positions[0]


def _budget(spec: CheckSpec, reader: DatasetReader, blocks: tuple[int, ...], position: int, device: torch.device) -> MemoryBudget:
    """Shuffled problems need most: as many as are trained together."""
    rows = min(spec.rows, reader.layout.num_sequences)
    shape = ItemShape(
        num_rows=rows,
        num_sequences=rows,
        num_positions=reader.layout.num_positions,
        num_tokens=reader.layout.num_tokens,
        hidden_size=reader.layout.hidden_size,
        num_blocks=min(SHUFFLES_AT_ONCE, spec.permutations),
        threads=torch.get_num_threads(),
    )
    drawn = 4 * rows * reader.layout.hidden_size * (2 + shape.num_blocks)
    demands = [
        Demand(
            name=estimator.name,
            work=f"block {block}",
            working_bytes=drawn + resolve(estimator.row.needs)(estimator, shape).working_bytes,
            slabs=_slabs(block, position),
        )
        for block in blocks
        for estimator in spec.estimators
        if estimator.row.belief is None
    ]
    return make_budget(spec.memory_bytes or default_bytes(device), demands, reader.layout, "fewer --rows or another --estimator")


def _slabs(block: int, position: int) -> tuple[Slab, ...]:
    return tuple(Slab(level="macro", layer=layer, position=position) for layer in (block, block + 1))


def _draw(reader: DatasetReader, block: int, position: int, spec: CheckSpec, room: Room) -> tuple[Rows, Rows]:
    """States x and y (row, hidden) of a seeded sample of sequences, in random order: sorted neighbours are alike."""
    chosen = np.random.default_rng(spec.seed).permutation(reader.layout.num_sequences)[: spec.rows]
    at = torch.from_numpy(chosen)
    x, y = (read_states(reader, slab, room).rows.take(at).float().numpy() for slab in _slabs(block, position))
    return x, y


def _answers(estimator: EstimatorSpec[Any], x: Rows, y: Rows, spec: CheckSpec, device: torch.device) -> list[Answer]:
    measure, seed = _measure_with(estimator, device), estimator.options.seed
    base = measure(x, y, seed)
    return [
        self_consistency.permutation_null(base, _shuffled(estimator, x, y, spec, device)),
        self_consistency.learning_curve(base, measure, x, y, seed),
        self_consistency.seeds(base, measure, x, y, seed),
        self_consistency.data_processing(base, measure, x, y, seed),
        self_consistency.additivity(measure, x, y, seed),
    ]


def _measure_with(estimator: EstimatorSpec[Any], device: torch.device) -> Measure:
    def measure(x: Rows, y: Rows, seed: int) -> MIEstimate:
        on_device = (torch.from_numpy(rows).to(device) for rows in (x, y))
        return mutual_information(*on_device, estimator=replace(estimator, options=replace(estimator.options, seed=seed)))

    return measure


def _shuffled(estimator: EstimatorSpec[Any], x: Rows, y: Rows, spec: CheckSpec, device: torch.device) -> list[MIEstimate]:
    """Estimates from shuffled pairs, with the budget of one estimate each."""
    generator = np.random.default_rng(spec.seed + 1)
    orders = [generator.permutation(len(y)) for _ in range(spec.permutations)]
    left, right = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)
    estimates: list[MIEstimate] = []
    for start in range(0, len(orders), SHUFFLES_AT_ONCE):
        together = [right[torch.from_numpy(order).to(device)] for order in orders[start : start + SHUFFLES_AT_ONCE]]
        numbers = tuple(range(len(together)))
        pairs = PairedSlabs(
            slabs=tuple(map(HeldRows, (left, *together))), x=(0,) * len(numbers), y=tuple(number + 1 for number in numbers)
        )
        estimates += cross_fit(pairs, estimator, groups=np.arange(len(x)))
    return estimates


def _verdict(estimator: EstimatorSpec[Any], findings: list[Finding]) -> Verdict:
    if estimator.row.belief is not None:
        believed = estimator.row.guarantee != "none"
        return Verdict(estimator=estimator.name, believed=believed, sentence=estimator.row.belief)
    failed = [f"{finding.answer.check} (block {finding.block})" for finding in findings if finding.answer.passed is False]
    applied = sum(finding.answer.passed is not None for finding in findings)
    return Verdict(
        estimator=estimator.name,
        believed=not failed,
        sentence=f"failed {len(failed)} of {applied} checks: {', '.join(failed)}" if failed else f"passed all {applied} checks",
        findings=tuple(findings),
    )
