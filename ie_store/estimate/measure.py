"""The estimates of one stack of problems by one estimator, with the sentinels that every estimator shares."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ie_store.estimate.closed_form import chao_shen_nats, coverage, miller_madow_nats, num_collisions
from ie_store.estimate.noise import noise_estimate
from ie_store.estimate.outcomes import CorpusRows, Outcomes
from ie_store.estimate.paper import paper_estimate
from ie_store.estimate.problems import Stack
from ie_store.estimate.slabs import SlabStates
from ie_store.estimate.split import FEWEST_SEQUENCES
from ie_store.estimate.stack import estimate_stack
from ie_store.options import EstimatorSpec, OnProgress
from ie_store.specs import EstimatorName, MIEstimate, Outcome, Problem, Slab

TABLE_SHARE = 0.5
"""A side of the split is a table of distinct rows where at most this share of the sequences' rows is distinct."""

Slabs = dict[Slab, SlabStates]


@dataclass(frozen=True, kw_only=True)
class StackStates:
    """A stack of problems with all it is made of."""

    stack: Stack
    slabs: Slabs
    corpus: CorpusRows
    device: torch.device

    @property
    def outcomes(self) -> Outcomes:
        """What the problems' rows stand for: prefixes (macro) or tokens (micro)."""
        position = self.stack.position
        return self.corpus.prefixes(position) if self.stack.level == "macro" else self.corpus.lone_tokens(position)

    def outcomes_of(self, layer: int) -> Outcomes:
        """What a layer's states can tell apart: the token alone where they are what enters block 0."""
        if self.stack.level == "macro" and layer == 0:
            return self.corpus.last_tokens(self.stack.position)
        return self.outcomes

    def states(self, layer: int) -> SlabStates:
        """The slab of a layer."""
        position = self.stack.position if self.stack.level == "macro" else None
        return self.slabs[Slab(level=self.stack.level, layer=layer, position=position)]

    def table(self, layer: int, outcomes: Outcomes) -> Tensor:
        """(outcome, hidden) one row per outcome, on the device."""
        return torch.from_numpy(self.states(layer).rows[outcomes.first_rows]).to(self.device)

    def collisions(self, layer: int) -> int:
        """Outcomes whose stored states in ``layer`` are equal to those of another outcome."""
        outcomes, classes = self.outcomes_of(layer), self.states(layer).classes
        rows = outcomes.first_rows if self.stack.level == "micro" else np.arange(len(classes))
        numbers = np.arange(len(rows)) if self.stack.level == "micro" else outcomes.of_sequence
        return num_collisions(classes[rows], numbers)


def ceilings_at(corpus: CorpusRows, problem: Problem) -> tuple[float, float | None]:
    """Exact value of a problem's listed rows, and of their population where it is known."""
    listed, population = (getattr(c, problem.level)[problem.block, problem.position] for c in (corpus.listed, corpus.population))
    return float(listed), None if np.isnan(population) else float(population)


def known_value(estimator: EstimatorName, corpus: CorpusRows, problem: Problem) -> MIEstimate:
    """The listed ceiling as the estimate."""
    listed, population = ceilings_at(corpus, problem)
    return MIEstimate(
        estimator=estimator,
        nats=listed,
        interval_nats=(listed, listed),
        standard_error_nats=0.0,
        ceiling_nats=listed,
        ceiling_population_nats=population,
        outcome=Outcome.EXACT,
    )


def measure_stack(spec: EstimatorSpec, states: StackStates, on_progress: OnProgress) -> dict[Problem, MIEstimate]:
    """Estimate every problem of a stack; where there is nothing to know, the value is exactly 0 without training."""
    empty = [p for p in states.stack.problems if spec.name != "noise" and ceilings_at(states.corpus, p)[0] == 0.0]
    left = [problem for problem in states.stack.problems if problem not in empty]
    found = {problem: known_value(spec.name, states.corpus, problem) for problem in empty}
    if left:
        found.update(zip(left, _MEASURES.get(spec.name, _trained)(spec, states, left, on_progress), strict=True))
    return found


def examine(estimates: dict[Problem, MIEstimate], states: StackStates) -> dict[Problem, MIEstimate]:
    """Add the flags that the states themselves give cause to."""
    return {problem: _examined(estimate, states, problem) for problem, estimate in estimates.items()}


def _examined(estimate: MIEstimate, states: StackStates, problem: Problem) -> MIEstimate:
    flags = list(estimate.flags)
    collisions = {layer: states.collisions(layer) for layer in (problem.block, problem.block + 1)}
    for layer, number in collisions.items():
        if number:
            total = len(states.outcomes_of(layer).counts)
            what = "prefixes" if problem.level == "macro" else "tokens"
            flags.append(
                f"{number:,} of {total:,} different {what} share their stored state in layer {layer} with another: "
                "the ceiling cannot be reached; store a wider --dtype"
            )
    x, y = (states.states(layer).rows for layer in collisions)
    num_sequences = len(states.outcomes.of_sequence)
    if estimate.estimator != "exact" and num_sequences < FEWEST_SEQUENCES:
        flags.append(f"{num_sequences} sequences are too few to speak for more than themselves; use at least {FEWEST_SEQUENCES}")
    if len(states.outcomes.counts) > 1 and np.array_equal(x, y):
        flags.append("x and y are identical: the block changes nothing, or its input was stored as its output")
    return replace(estimate, flags=tuple(flags), diagnostics=estimate.diagnostics | {"collisions": max(collisions.values())})


def _noise(spec: EstimatorSpec, states: StackStates, problems: list[Problem], on_progress: OnProgress) -> list[MIEstimate]:
    last_layer = len(states.corpus.listed.macro)
    estimates = []
    for problem in problems:
        estimate = _noise_of_layer(spec, states, problem, problem.block, on_progress)
        if problem.block + 1 == last_layer:  # no block reads the last layer: its curve goes with the block that writes it
            output = _noise_of_layer(spec, states, problem, last_layer, on_progress).diagnostics
            named = {f"output_{name}": output[name] for name in ("curve_low_nats", "curve_high_nats")}
            estimate = replace(estimate, diagnostics=estimate.diagnostics | named)
        estimates.append(estimate)
    return estimates


def _noise_of_layer(
    spec: EstimatorSpec, states: StackStates, problem: Problem, layer: int, on_progress: OnProgress
) -> MIEstimate:
    outcomes = states.outcomes_of(layer)
    listed, population = ceilings_at(states.corpus, problem)
    return noise_estimate(
        states.table(layer, outcomes),
        outcomes.counts,
        spec,
        ceiling_nats=listed,
        ceiling_population_nats=population,
        on_progress=on_progress,
    )


def _paper(spec: EstimatorSpec, states: StackStates, problems: list[Problem], on_progress: OnProgress) -> list[MIEstimate]:
    outcomes = states.outcomes
    has_repeats = len(outcomes.counts) < len(outcomes.of_sequence)
    of_sequence = torch.from_numpy(outcomes.of_sequence).to(states.device) if has_repeats else None
    estimates = []
    for problem in problems:
        x, y = (states.table(layer, outcomes) for layer in (problem.block, problem.block + 1))
        listed, population = ceilings_at(states.corpus, problem)
        estimates.append(
            paper_estimate(
                x,
                y,
                spec,
                row_of_sequence=of_sequence,
                ceiling_nats=listed,
                ceiling_population_nats=population,
                on_progress=on_progress,
            )
        )
    return estimates


def _trained(spec: EstimatorSpec, states: StackStates, problems: list[Problem], on_progress: OnProgress) -> list[MIEstimate]:
    outcomes = states.outcomes
    is_table = len(outcomes.counts) <= TABLE_SHARE * len(outcomes.of_sequence)
    tables = {layer: states.table(layer, outcomes).float() for p in problems for layer in (p.block, p.block + 1)}
    if not is_table:
        index = torch.from_numpy(outcomes.of_sequence).to(states.device)
        tables = {layer: table[index] for layer, table in tables.items()}
    ceilings = [ceilings_at(states.corpus, problem) for problem in problems]
    return estimate_stack(
        torch.stack([tables[problem.block] for problem in problems]),
        torch.stack([tables[problem.block + 1] for problem in problems]),
        spec,
        groups=states.corpus.groups,
        row_of_sequence=outcomes.of_sequence if is_table else None,
        ceilings_nats=[listed for listed, _ in ceilings],
        ceilings_population_nats=[population for _, population in ceilings],
        on_progress=on_progress,
    )


_MEASURES = {"noise": _noise, "mine-paper": _paper}


def corrections(outcomes: Outcomes) -> dict[str, float]:
    """What corrected estimates make of a sample's counts: NaN where its coverage is 0."""
    return {
        "num_outcomes": float(len(outcomes.counts)),
        "coverage": coverage(outcomes.counts),
        "miller_madow_nats": miller_madow_nats(outcomes.counts),
        "chao_shen_nats": chao_shen_nats(outcomes.counts),
    }
