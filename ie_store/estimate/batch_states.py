"""The estimates of one stack of problems by one estimator, with the input checks that every estimator shares."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ie_store.estimate.critics.folds import FEWEST_SEQUENCES
from ie_store.estimate.exact.entropies import chao_shen_nats, coverage, miller_madow_nats, num_collisions
from ie_store.estimate.exact.prefix_index import DistinctPrefixes, PrefixIndex
from ie_store.estimate.problems import ProblemBatch
from ie_store.estimate.read import SlabStates
from ie_store.estimate.stored_rows import ChosenRows, Room, StoredRows
from ie_store.estimators import EXACT, EstimatorSpec, resolve
from ie_store.options import OnProgress
from ie_store.specs import MIEstimate, Problem, Slab
from ie_store.variables import Piece

Slabs = dict[Slab, SlabStates]


@dataclass(frozen=True, kw_only=True)
class BatchStates:
    """A stack of problems with all it is made of."""

    batch: ProblemBatch
    slabs: Slabs
    corpus: PrefixIndex
    room: Room
    """Where further rows are kept."""

    @property
    def device(self) -> torch.device:
        """What computes."""
        return self.room.device

    @property
    def distinct(self) -> DistinctPrefixes:
        """What the problems' rows stand for: prefixes (macro) or tokens (micro)."""
        position = self.batch.position
        return self.corpus.prefixes(position) if self.batch.level == "macro" else self.corpus.lone_tokens(position)

    def distinct_in(self, layer: int) -> DistinctPrefixes:
        """What a layer's states can tell apart: the token alone where they are what enters block 0."""
        if self.batch.level == "macro" and layer == 0:
            return self.corpus.last_tokens(self.batch.position)
        return self.distinct

    def states(self, layer: int) -> SlabStates:
        """The slab of a layer."""
        return self.slabs[Slab.of(self.batch.level, layer, self.batch.position)]

    def table(self, layer: int, outcomes: DistinctPrefixes) -> StoredRows:
        """(outcome, hidden) one row per outcome; the slab itself where its rows are the outcomes."""
        rows, first_rows = self.states(layer).rows, outcomes.first_rows
        is_slab = len(first_rows) == len(rows) and bool((np.diff(first_rows) > 0).all())
        return rows if is_slab else ChosenRows(rows, torch.from_numpy(first_rows).to(self.device))

    @property
    def lone_tokens(self) -> StoredRows:
        """(token, hidden) states of all distinct tokens in the lowest stored layer, where the estimator's row asks for them."""
        return self.slabs[min((slab for slab in self.slabs if slab.level == "micro"), key=lambda slab: slab.layer)].rows

    def collisions(self, layer: int) -> int:
        """Prefixes or tokens whose stored states in ``layer`` are equal to those of another outcome."""
        states = self.states(layer)
        if states.classes is None:
            return 0
        outcomes = self.distinct_in(layer)
        if self.batch.level == "macro":
            return states.collisions(outcomes.of_sequence)
        return num_collisions(states.classes[outcomes.first_rows], np.arange(len(outcomes.first_rows)))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What an estimator finds out about some problems of a stack."""

    estimates: list[MIEstimate]
    """One for each problem, in order."""
    pieces: tuple[Piece, ...] = ()
    """Of further variables: curves over layers, for one."""


@dataclass(frozen=True, kw_only=True)
class ItemShape:
    """What the memory that an item of work needs follows from."""

    num_rows: int
    """Distinct rows of each problem."""
    num_sequences: int
    num_positions: int
    num_tokens: int
    """Distinct tokens of the corpus."""
    hidden_size: int
    num_blocks: int
    """Problems that are worked on together."""
    threads: int


@dataclass(frozen=True, kw_only=True)
class Needs:
    """The memory that an estimator needs for an item, beside its slabs."""

    working_bytes: int
    """Held at once, at most."""
    row_bytes: int = 0
    """Of rows that it keeps where there is room: in memory or on disk."""
    lent_bytes: int = 0
    """That a processor's threads borrow to work at once, where there is room; it gains more by them than by slabs in memory."""


Measure = Callable[[EstimatorSpec[Any], BatchStates, list[Problem], OnProgress], Measured]
"""Estimates some problems of a stack."""


def ceilings_at(corpus: PrefixIndex, problem: Problem) -> tuple[float, float | None]:
    """Exact value of a problem's listed rows, and of their population where it is known."""
    listed, population = (getattr(c, problem.level)[problem.block, problem.position] for c in (corpus.listed, corpus.population))
    return float(listed), None if np.isnan(population) else float(population)


def known_value(estimator: str, corpus: PrefixIndex, problem: Problem) -> MIEstimate:
    """The listed ceiling as the estimate."""
    listed, population = ceilings_at(corpus, problem)
    return MIEstimate.exactly(estimator, listed, population)


def measure_batch(
    spec: EstimatorSpec[Any], states: BatchStates, on_progress: OnProgress
) -> tuple[dict[Problem, MIEstimate], tuple[Piece, ...]]:
    """The estimate of every problem of a stack, and pieces of further variables.

    Where there is nothing to learn, the value is exactly 0 without training.
    """
    empty = [p for p in states.batch.problems if spec.row.trained and ceilings_at(states.corpus, p)[0] == 0.0]
    left = [problem for problem in states.batch.problems if problem not in empty]
    found = {problem: known_value(spec.name, states.corpus, problem) for problem in empty}
    if not left:
        return found, ()
    measure: Measure = resolve(spec.row.measure)
    measured = measure(spec, states, left, on_progress)
    return found | dict(zip(left, measured.estimates, strict=True)), measured.pieces


def examine(estimates: dict[Problem, MIEstimate], states: BatchStates) -> dict[Problem, MIEstimate]:
    """Add the flags that the states themselves give cause to."""
    return {problem: _examined(estimate, states, problem) for problem, estimate in estimates.items()}


def _examined(estimate: MIEstimate, states: BatchStates, problem: Problem) -> MIEstimate:
    flags = list(estimate.flags)
    collisions = {layer: states.collisions(layer) for layer in (problem.block, problem.block + 1)}
    for layer, number in collisions.items():
        if number:
            total = len(states.distinct_in(layer).counts)
            what = "prefixes" if problem.level == "macro" else "tokens"
            flags.append(
                f"{number:,} of {total:,} different {what} share their stored state in layer {layer} with another: "
                "the ceiling cannot be reached; store a wider --dtype"
            )
    x, y = (states.states(layer).digest for layer in collisions)
    num_sequences = len(states.distinct.of_sequence)
    if estimate.estimator != EXACT and num_sequences < FEWEST_SEQUENCES:
        flags.append(f"{num_sequences} sequences are too few to speak for more than themselves; use at least {FEWEST_SEQUENCES}")
    if len(states.distinct.counts) > 1 and x == y:
        flags.append("x and y are identical: the block changes nothing, or its input was stored as its output")
    return replace(estimate, flags=tuple(flags), diagnostics=estimate.diagnostics | {"collisions": max(collisions.values())})


def corrections(outcomes: DistinctPrefixes) -> dict[str, float]:
    """What corrected estimates make of a sample's counts: NaN where its coverage is 0."""
    return {
        "num_outcomes": float(len(outcomes.counts)),
        "coverage": coverage(outcomes.counts),
        "miller_madow_nats": miller_madow_nats(outcomes.counts),
        "chao_shen_nats": chao_shen_nats(outcomes.counts),
    }
