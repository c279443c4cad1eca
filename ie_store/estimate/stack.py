"""Estimates of a stack of problems of one shape: every fold and seed trained, tested and combined."""

from collections.abc import Sequence
from math import log
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.estimate.base import MOST_REFERENCES, choose_base, linear_nats, normalised, score_rows, statistics
from ie_store.estimate.bounds import SMILE_CLIP
from ie_store.estimate.encoders import all_factors, train_encoders
from ie_store.estimate.evaluate import FoldValue, SideStatistics, bound_value, combine, linear_value
from ie_store.estimate.judge import judge
from ie_store.estimate.pairs import keep_residual, residual_statistics, train_pairs
from ie_store.estimate.split import Fold, make_folds, table_fold
from ie_store.estimate.train import Trained
from ie_store.options import EstimatorSpec, OnProgress, ignore_progress
from ie_store.specs import MIEstimate

TRAIN_ROWS_SHOWN = 2048
"""Train rows that the train-test gap is read from."""


def estimate_stack(
    x: Tensor,
    y: Tensor,
    spec: EstimatorSpec,
    *,
    groups: NDArray[np.int64],
    row_of_sequence: NDArray[np.int64] | None = None,
    weights: NDArray[np.float64] | None = None,
    ceilings_nats: Sequence[float | None] = (),
    ceilings_population_nats: Sequence[float | None] = (),
    on_progress: OnProgress = ignore_progress,
) -> list[MIEstimate]:
    """Mutual information of each problem by a trained bound: mine, infonce, nwj, smile, js or cca.

    Args:
        x: (problem, row, x dimension) finite rows, float16 to float64.
        y: (problem, row, y dimension)
        spec: the estimator.
        groups: (sequence,) sequences of one group (identical full sequences) stay on one side and are one cluster.
        row_of_sequence: (sequence,) row of x and y that each sequence has, where rows are a table; None where
            every sequence has a row of its own, in order.
        weights: (row,) of a table that is its own population: no split, ``groups`` empty.
        ceilings_nats: (problem,) exact value of the rows as listed; empty or None where unknown.
        ceilings_population_nats: (problem,) likewise for the population.
        on_progress: told of every optimiser step.

    Raises:
        InputError: too few sequences.
    """
    started = perf_counter()
    values: list[list[FoldValue]] = []
    folds: list[list[Fold]] = []
    trainings: list[Trained] = []
    for seed in range(spec.seed, spec.seed + spec.seeds):
        split = make_folds(groups, row_of_sequence, spec.folds, spec.seed) if weights is None else (table_fold(weights),)
        folds.append([fold.to(x.device) for fold in split])
        values.append([])
        for number, fold in enumerate(folds[-1]):
            value, trained = _run_fold(x, y, fold, spec, (seed * 1000 + number) % 2**63, on_progress)
            values[-1].append(value)
            trainings += trained
    return [
        _estimate(problem, spec, values, folds, trainings, groups, ceilings_nats, ceilings_population_nats, started, len(x))
        for problem in range(len(x))
    ]


def _run_fold(
    x: Tensor, y: Tensor, fold: Fold, spec: EstimatorSpec, seed: int, on_progress: OnProgress
) -> tuple[FoldValue, list[Trained]]:
    rows = score_rows(x, y, fold.train)
    if spec.name == "cca":
        return linear_value(*linear_nats(rows, fold), fold.test), []
    base = choose_base(rows, fold, spec.name)
    encoders = train_encoders(rows, base, fold, spec, seed, on_progress)
    factors = all_factors(rows, base, encoders)
    reference = fold.train.head(MOST_REFERENCES)
    cap = base.cap(reference)
    sides = {"train": fold.train.head(TRAIN_ROWS_SHOWN), "validation": fold.validation, "test": fold.test}
    normal = {
        name: normalised(factors.at(side.rows), factors.at(reference.rows), reference, base.by_row)
        for name, side in sides.items()
    }
    trained = [encoders]
    refinable = ~base.by_row & (encoders.best_step > 0)
    if spec.name == "mine" and not fold.train.is_table and bool(refinable.any()):
        trained.append(train_pairs(rows, factors, cap, fold, spec, seed, on_progress))
    if len(trained) == 2 and bool(trained[-1].best_step.any()):
        pairs = keep_residual(trained[-1].parameters, refinable)
        found = {name: residual_statistics(pairs, rows, normal[name], side, cap) for name, side in sides.items()}
    else:
        found = {name: statistics(normal[name], side, cap) for name, side in sides.items()}
    clipped = None
    if spec.name == "smile":
        clipped = statistics(normal["test"], fold.test, cap.clamp_max(SMILE_CLIP))
    return bound_value(spec.name, SideStatistics(**found, clipped_test=clipped), fold.test), trained


def training_flops(trained: Trained, batch_size: int) -> float:
    """Floating-point operations of one problem's training: forward and backward of every weight, for every row of every batch."""
    weights = sum(tensor[0].numel() for tensor in trained.parameters.values())
    return 6.0 * weights * batch_size * trained.steps


def _estimate(
    problem: int,
    spec: EstimatorSpec,
    values: list[list[FoldValue]],
    folds: list[list[Fold]],
    trainings: list[Trained],
    groups: NDArray[np.int64],
    ceilings_nats: Sequence[float | None],
    ceilings_population_nats: Sequence[float | None],
    started: float,
    num_problems: int,
) -> MIEstimate:
    combined = combine(values, folds, groups, problem)
    first = values[0][0]
    train_nats = float(np.mean([value.train_nats[problem].item() for of_seed in values for value in of_seed]))
    is_table = folds[0][0].test.is_table
    return judge(
        spec.name,
        combined,
        ceiling_nats=ceilings_nats[problem] if ceilings_nats else None,
        ceiling_population_nats=ceilings_population_nats[problem] if ceilings_population_nats else None,
        num_test=first.num_test,
        is_table=is_table,
        still_rising=any(bool(trained.still_rising[problem]) for trained in trainings),
        diagnostics={
            "raw_nats": combined.nats,
            "fold_nats": combined.fold_nats,
            "folds": spec.folds,
            "seeds": spec.seeds,
            "seed": spec.seed,
            "num_test": first.num_test,
            "ln_n_test": log(first.num_test),
            "num_negatives": first.num_negatives,
            "is_table": is_table,
            "train_nats": train_nats,
            "train_test_gap_nats": train_nats - combined.nats,
            "steps": max((trained.steps for trained in trainings), default=0),
            "best_step": max((int(trained.best_step[problem]) for trained in trainings), default=0),
            "flops": sum(training_flops(trained, spec.batch_size) for trained in trainings),
            "torch_version": str(torch.__version__),
            "wall_seconds": (perf_counter() - started) / num_problems,
        },
    )
