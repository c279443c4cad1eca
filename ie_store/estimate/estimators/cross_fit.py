"""Cross-fitting: problems of one shape, every fold and seed fitted, tested and combined. What is fitted, the table says."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.estimate.array_input import GivenPair
from ie_store.estimate.batch_states import BatchStates, ItemShape, Measured, Needs, ceilings_at
from ie_store.estimate.critics.canonical_correlations import MOST_DIRECTIONS
from ie_store.estimate.critics.folds import Fold, Groups, make_fold, table_fold
from ie_store.estimate.critics.held_out import FoldValue, combine
from ie_store.estimate.critics.moments import VALUES_AT_ONCE
from ie_store.estimate.critics.networks import ENCODER_WIDTH, PUBLISHED_WIDTHS, RANK
from ie_store.estimate.critics.outcome import classify
from ie_store.estimate.critics.rows import KEPT_VALUES, PairedSlabs
from ie_store.estimate.critics.scores import MOST_REFERENCES
from ie_store.estimate.critics.train import Trained
from ie_store.estimate.exact.discrete import REPEATING_SHARE
from ie_store.estimate.memory import give_back
from ie_store.estimator_options import CrossFitOptions, TrainedOptions
from ie_store.estimators import EstimatorSpec, resolve
from ie_store.options import OnProgress, ignore_progress
from ie_store.specs import MIEstimate, Problem

RunFold = Callable[
    [PairedSlabs, Fold, EstimatorSpec[CrossFitOptions], int, OnProgress],
    tuple[FoldValue, list[Trained]],
]
"""Fits some problems on one fold under a seed; the test value, and the trainings that led to it."""


def measure(
    spec: EstimatorSpec[CrossFitOptions], states: BatchStates, problems: list[Problem], on_progress: OnProgress
) -> Measured:
    """Estimate problems of one shape from their states."""
    at, row_of_sequence = _rows_of(states)
    layers = sorted({layer for problem in problems for layer in (problem.block, problem.block + 1)})
    pairs = PairedSlabs(
        slabs=tuple(states.states(layer).rows for layer in layers),
        x=tuple(layers.index(problem.block) for problem in problems),
        y=tuple(layers.index(problem.block + 1) for problem in problems),
        at=at,
    )
    ceilings = [ceilings_at(states.corpus, problem) for problem in problems]
    estimates = cross_fit(
        pairs,
        spec,
        groups=states.corpus.groups,
        row_of_sequence=row_of_sequence,
        ceilings_nats=[listed for listed, _ in ceilings],
        ceilings_population_nats=[population for _, population in ceilings],
        on_progress=on_progress,
    )
    return Measured(estimates=estimates)


def _rows_of(states: BatchStates) -> tuple[Tensor | None, NDArray[np.integer] | None]:
    """Slab rows (row,) that are the problems' rows, None for all in order; of a table also its row (sequence,)."""
    outcomes = states.distinct
    if is_table(len(outcomes.counts), len(outcomes.of_sequence)):
        return torch.from_numpy(outcomes.first_rows).to(states.device), outcomes.of_sequence
    if states.batch.level == "macro" and len(outcomes.counts) == len(outcomes.of_sequence):
        return None, None
    return torch.from_numpy(outcomes.first_rows[outcomes.of_sequence].astype(np.int32)).to(states.device), None


def needs(spec: EstimatorSpec[CrossFitOptions], shape: ItemShape) -> Needs:
    """The larger of what fitting the linear critic and what training and testing hold; see the comments for the parts."""
    size, blocks = shape.hidden_size, shape.num_blocks
    table = is_table(shape.num_rows, shape.num_sequences)
    references = shape.num_rows if table else min(shape.num_sequences, MOST_REFERENCES)
    a_slab = size * (shape.num_rows if table else shape.num_sequences)
    kept = min(KEPT_VALUES, 2 * blocks * a_slab) if (blocks + 1) * a_slab <= KEPT_VALUES else 0  # neighbours share slabs, or not
    values = 4 * kept + 4 * 4 * VALUES_AT_ONCE + 2 * 8 * references * size // 4
    maps = 4 * 2 * size * min(size, MOST_DIRECTIONS)  # directions of x and of y
    linear = 8 * 18 * size**2 + 4 * maps * blocks  # covariances on two sides, their axes, whitened and decomposed
    is_trained = isinstance(spec.options, TrainedOptions)
    critic = _critic_bytes(size, maps, references, meets_pairs=spec.name == "mine" and not table) if is_trained else 0
    fitting = values + max(linear, blocks * critic) + 16 * shape.num_sequences  # a fold, and what rows add to those before
    return Needs(working_bytes=max(fitting, 64 * shape.num_sequences))  # folds are made, and combined, before and after it


def _critic_bytes(size: int, maps: int, references: int, meets_pairs: bool) -> int:
    """Weights with their gradients, moments and averages, and several sides' scores; of ``mine`` a critic of pairs too."""
    first_layer = PUBLISHED_WIDTHS[0] if meets_pairs else 0
    weights = 4 * 2 * (ENCODER_WIDTH * (size + ENCODER_WIDTH + RANK) + size * first_layer)
    scores = 4 * 2 * (min(size, MOST_DIRECTIONS) + RANK + 1) + 4 * first_layer
    return 8 * weights + 6 * maps + 5 * scores * references


def of_arrays(spec: EstimatorSpec[CrossFitOptions], pair: GivenPair, on_progress: OnProgress) -> MIEstimate:
    """Estimate from anyone's paired rows."""
    (x, x_flags), (y, y_flags), classes = pair.x(), pair.y(), pair.classes
    row_of_sequence = None
    if not classes.is_weighted and is_table(int(classes.joint.max()) + 1, len(classes.joint)):
        first_rows, row_of_sequence = np.unique(classes.joint, return_index=True)[1], classes.joint
        x, y = x[first_rows], y[first_rows]
    estimate = cross_fit(
        PairedSlabs.of([x], [y]),
        spec,
        groups=np.arange(0 if classes.is_weighted else len(classes.x)),
        row_of_sequence=row_of_sequence,
        weights=classes.weights if classes.is_weighted else None,
        ceilings_nats=(classes.ceiling_nats,),
        on_progress=on_progress,
    )[0]
    return replace(estimate, flags=(*estimate.flags, *x_flags, *y_flags))


def is_table(num_distinct: int, num_sequences: int) -> bool:
    """Distinct rows are taken as a table with weights: few enough, and in no more pairs than a draw has with its references."""
    few = num_distinct <= REPEATING_SHARE * num_sequences
    return few and num_distinct**2 <= num_sequences * min(num_sequences, MOST_REFERENCES)


def cross_fit(
    pairs: PairedSlabs,
    spec: EstimatorSpec[CrossFitOptions],
    *,
    groups: Groups,
    row_of_sequence: NDArray[np.integer] | None = None,
    weights: NDArray[np.float64] | None = None,
    ceilings_nats: Sequence[float | None] = (),
    ceilings_population_nats: Sequence[float | None] = (),
    on_progress: OnProgress = ignore_progress,
) -> list[MIEstimate]:
    """Mutual information of each problem by the fold runner of ``spec``'s row.

    Args:
        pairs: the problems.
        spec: the estimator.
        groups: (sequence,) sequences of one group (identical full sequences) stay on one side and are one cluster.
        row_of_sequence: (sequence,) row of the problems that each sequence has, where rows are a table; None where
            every sequence has a row of its own, in order.
        weights: (row,) of a table that is its own population: no split, ``groups`` empty.
        ceilings_nats: (problem,) exact value of the rows as listed; empty or None where unknown.
        ceilings_population_nats: (problem,) likewise for the population.
        on_progress: called with every optimiser step.

    Raises:
        InputError: too few sequences.
    """
    started = perf_counter()
    options, run_fold = spec.options, _run_fold(spec)
    values: list[list[FoldValue]] = []
    trainings: list[Trained] = []

    def make(number: int) -> Fold:
        if weights is not None:
            return table_fold(weights)
        return make_fold(number, groups, row_of_sequence, options.folds, options.seed)

    numbers = range(options.folds if weights is None else 1)
    for seed in range(options.seed, options.seed + options.seeds):
        values.append([])
        for number in numbers:
            fold = make(number).to(pairs.device)
            give_back()
            value, trained = run_fold(pairs, fold, spec, (seed * 1000 + number) % 2**63, on_progress)
            values[-1].append(value)
            trainings += trained
            del fold
    folds = [make(number) for number in numbers]  # anew: while critics are fitted, which takes most memory, there is but one
    return [
        _estimate(problem, spec, values, folds, trainings, groups, ceilings_nats, ceilings_population_nats, started)
        for problem in range(pairs.num_problems)
    ]


def _references(value: FoldValue) -> dict[str, float]:
    if value.num_references is None:
        return {}
    return {"num_references": value.num_references, "ln_references": log(value.num_references)}


def _run_fold(spec: EstimatorSpec[CrossFitOptions]) -> RunFold:
    if spec.row.run_fold is None:
        raise TypeError(f"{spec.name} is not cross-fitted: its row names no run_fold")
    return resolve(spec.row.run_fold)


def training_flops(trained: Trained, batch_size: int, problem: int) -> float:
    """Floating-point operations of one problem's training: forward and backward of every weight, for every draw of a batch."""
    weights = sum(tensor[0].numel() for tensor in trained.parameters.values())
    return 6.0 * weights * batch_size * int(trained.steps[problem])


def _flops(spec: EstimatorSpec[CrossFitOptions], trainings: list[Trained], problem: int) -> float:
    options = spec.options
    if not isinstance(options, TrainedOptions):
        return 0.0
    return sum(training_flops(trained, options.batch_size, problem) for trained in trainings)


def _estimate(
    problem: int,
    spec: EstimatorSpec[CrossFitOptions],
    values: list[list[FoldValue]],
    folds: list[Fold],
    trainings: list[Trained],
    groups: Groups,
    ceilings_nats: Sequence[float | None],
    ceilings_population_nats: Sequence[float | None],
    started: float,
) -> MIEstimate:
    combined = combine(values, folds, groups, problem)
    first = values[0][0]
    train_nats = float(np.mean([value.train_nats[problem].item() for of_seed in values for value in of_seed]))
    is_weighted = folds[0].test.is_weighted
    return classify(
        spec.name,
        combined,
        is_bound=spec.row.guarantee != "none",
        ceiling_nats=ceilings_nats[problem] if ceilings_nats else None,
        ceiling_population_nats=ceilings_population_nats[problem] if ceilings_population_nats else None,
        num_test=first.num_test,
        num_references=first.num_references,
        is_weighted=is_weighted,
        still_rising=any(bool(trained.still_rising[problem]) for trained in trainings),
        diagnostics={
            "raw_nats": combined.nats,
            "fold_nats": combined.fold_nats,
            "folds": spec.options.folds,
            "seeds": spec.options.seeds,
            "seed": spec.options.seed,
            "num_test": first.num_test,
            "ln_n_test": log(first.num_test),
            **_references(first),
            "num_negatives": first.num_negatives,
            "is_weighted": is_weighted,
            "train_nats": train_nats,
            "train_test_gap_nats": train_nats - combined.nats,
            "steps": max((int(trained.steps[problem]) for trained in trainings), default=0),
            "best_step": max((int(trained.best_step[problem]) for trained in trainings), default=0),
            "flops": _flops(spec, trainings, problem),
            "torch_version": str(torch.__version__),
            "wall_seconds": (perf_counter() - started) / len(values[0][0].nats),
        },
    )
