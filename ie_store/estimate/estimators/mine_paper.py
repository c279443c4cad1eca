"""The published procedure of arXiv 2405.12617, step by step. It is not a bound; it is here to compare with.

All rows are one batch; one random permutation per step gives the negatives; Adam with a polynomial schedule; the value
is the maximum of the Donsker-Varadhan statistic over training, on the rows it was trained on. Differences between the
published text and the published code (docs/science.md, "The published procedure") are settled in favour of the text.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from math import log
from time import perf_counter

import torch
from torch import Tensor, nn

from ie_store.estimate.array_input import GivenPair
from ie_store.estimate.batch_states import BatchStates, Measured, ceilings_at
from ie_store.estimate.critics.held_out import Combined, student_95
from ie_store.estimate.critics.networks import PUBLISHED_WIDTHS
from ie_store.estimate.critics.outcome import classify
from ie_store.estimator_options import PaperOptions
from ie_store.estimators import EstimatorSpec
from ie_store.options import OnProgress, Progress, ignore_progress
from ie_store.specs import MIEstimate, Problem

PUBLISHED_STEPS = 10_000
WARM_UP_STEPS = 5
FIRST_RATE, LAST_RATE, POWER = 1e-4, 1e-8, 3
FLOPS_PER_WEIGHT = 12
"""Forward and backward (6) of a joint and a negative pair."""
NO_BOUND = "the maximum over training of a statistic on its own training rows: for comparison with published figures only"


@dataclass(frozen=True, kw_only=True)
class PublishedRun:
    """What the procedure saw."""

    maximum_nats: float
    maximum_step: int
    last_nats: float


def published_critic(x_size: int, y_size: int, seed: int) -> nn.Sequential:
    """The critic (x_size + y_size)-768-384-192-96-48-24-12-6-3-1 with LeakyReLU and Xavier-normal weights."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    inputs = x_size + y_size
    for outputs in PUBLISHED_WIDTHS:
        linear = nn.Linear(inputs, outputs)
        nn.init.xavier_normal_(linear.weight, generator=generator)
        nn.init.uniform_(linear.bias, -(inputs**-0.5), inputs**-0.5, generator=generator)
        layers += [linear, nn.LeakyReLU()]
        inputs = outputs
    return nn.Sequential(*layers[:-1])


def published_rate(step: int, steps: int) -> float:
    """Learning rate of optimiser step 0..steps-1: linear warm-up, then a polynomial down to the last rate."""
    if step < WARM_UP_STEPS:
        return FIRST_RATE * step / WARM_UP_STEPS
    left = 1 - (step - WARM_UP_STEPS) / max(1, steps - WARM_UP_STEPS)
    return (FIRST_RATE - LAST_RATE) * left**POWER + LAST_RATE


def run_published(
    critic: nn.Module,
    x: Tensor,
    y: Tensor,
    permutation: Callable[[int], Tensor],
    *,
    row_of_sequence: Tensor | None = None,
    steps: int = PUBLISHED_STEPS,
    on_progress: OnProgress = ignore_progress,
) -> PublishedRun:
    """Train ``critic`` on ``x`` and ``y`` (row, dimension), with ``permutation(step)`` (sequence,) as each step's negatives.

    ``row_of_sequence`` (sequence,) says which row each sequence has where the rows are a table; None where each has its own.
    """
    optimiser = torch.optim.Adam(critic.parameters(), lr=FIRST_RATE)
    maximum, maximum_step, nats = -float("inf"), 0, 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = published_rate(step, steps)
        value = _statistic(critic, x, y, permutation(step), row_of_sequence)
        optimiser.zero_grad()
        torch.autograd.backward(-value)
        optimiser.step()
        nats = value.item()
        if nats > maximum:
            maximum, maximum_step = nats, step
        on_progress(Progress(stage="mine-paper", done=step + 1, total=steps, unit="steps"))
    return PublishedRun(maximum_nats=maximum, maximum_step=maximum_step, last_nats=nats)


def _statistic(critic: nn.Module, x: Tensor, y: Tensor, order: Tensor, row_of_sequence: Tensor | None) -> Tensor:
    """Donsker-Varadhan over all sequences, paired with themselves and with ``order``.

    In a table, a pair of rows that many sequences share goes through the critic once, and counts as often as it occurs.
    """
    scores: Tensor = critic(torch.cat([x, y], 1))[:, 0]
    if row_of_sequence is None:
        negatives: Tensor = critic(torch.cat([x, y[order]], 1))[:, 0]
        return scores.mean() - (torch.logsumexp(negatives.float(), 0) - log(len(x)))
    pairs, counts = torch.unique(row_of_sequence * len(x) + row_of_sequence[order], return_counts=True)
    negatives = critic(torch.cat([x[pairs // len(x)], y[pairs % len(x)]], 1))[:, 0]
    shares = torch.bincount(row_of_sequence, minlength=len(x)) / len(row_of_sequence)
    log_mean = torch.logsumexp(negatives.float() + counts.log(), 0) - log(len(row_of_sequence))
    return torch.dot(shares, scores.float()) - log_mean


def rows_per_step(num_rows: int, num_sequences: int) -> int:
    """Rows through the critic in a step, joint and negative pairs together, halved: what `published_flops` counts in."""
    return (num_rows + min(num_rows**2, num_sequences)) // 2


def published_flops(num_rows: int, x_size: int, y_size: int, steps: int = PUBLISHED_STEPS) -> float:
    """Floating-point operations of one problem: what the command line turns into a warning."""
    widths = (x_size + y_size, *PUBLISHED_WIDTHS)
    weights = sum(inputs * outputs for inputs, outputs in pairwise(widths))
    return float(FLOPS_PER_WEIGHT) * weights * num_rows * steps


def column_segments(size: int, segment_size: int) -> tuple[slice, ...]:
    """Neighbouring runs of ``segment_size`` columns that cover ``size``; one run where it is 0."""
    width = segment_size or size
    return tuple(slice(start, min(start + width, size)) for start in range(0, size, width))


def paper_estimate(
    x: Tensor,
    y: Tensor,
    options: PaperOptions,
    *,
    row_of_sequence: Tensor | None = None,
    ceiling_nats: float | None = None,
    ceiling_population_nats: float | None = None,
    steps: int = PUBLISHED_STEPS,
    on_progress: OnProgress = ignore_progress,
) -> MIEstimate:
    """The published value of ``x`` and ``y`` (row, dimension), one row per sequence or a table (`run_published`).

    With ``options.segment_size`` the columns are cut and every segment is a run of its own; the value is the largest of
    them, and all stand in ``diagnostics["segment_nats"]``. The standard error is the spread over ``options.seeds``.
    """
    started = perf_counter()
    num_sequences = len(x) if row_of_sequence is None else len(row_of_sequence)
    segments = column_segments(max(x.shape[1], y.shape[1]), options.segment_size)
    seeds = range(options.seed, options.seed + options.seeds)
    runs = [[_run_seed(x[:, cut], y[:, cut], row_of_sequence, seed, steps, on_progress) for cut in segments] for seed in seeds]
    maxima = torch.tensor([[run.maximum_nats for run in of_seed] for of_seed in runs], dtype=torch.float64)
    values = maxima.max(dim=1).values
    nats = values.mean().item()
    error = (values.std() / len(values) ** 0.5).item() if len(values) > 1 else 0.0
    estimate = classify(
        "mine-paper",
        Combined(
            nats=nats,
            standard_error_nats=error,
            reach=student_95(max(1, len(values) - 1)),
            fold_nats=tuple(values.tolist()),
            fold_error_nats=error,
        ),
        is_bound=False,
        ceiling_nats=ceiling_nats,
        ceiling_population_nats=ceiling_population_nats,
        num_test=0,
        is_weighted=row_of_sequence is not None,
        still_rising=False,
        diagnostics={
            "segment_nats": tuple(maxima.mean(0).tolist()),
            "last_nats": runs[0][0].last_nats,
            "maximum_step": runs[0][0].maximum_step,
            "steps": steps,
            "seed": options.seed,
            "seeds": options.seeds,
            "num_train": num_sequences,
            "num_negatives": num_sequences,
            "flops": published_flops(rows_per_step(len(x), num_sequences), x.shape[1], y.shape[1], steps),
            "wall_seconds": perf_counter() - started,
        },
    )
    return replace(estimate, flags=(NO_BOUND, *estimate.flags))


def _run_seed(
    x: Tensor, y: Tensor, row_of_sequence: Tensor | None, seed: int, steps: int, on_progress: OnProgress
) -> PublishedRun:
    generator = torch.Generator().manual_seed(seed)
    num_sequences = len(x) if row_of_sequence is None else len(row_of_sequence)

    def permutation(step: int) -> Tensor:
        return torch.randperm(num_sequences, generator=generator).to(x.device)

    critic = published_critic(x.shape[1], y.shape[1], seed).to(x.device)
    return run_published(
        critic, x.float(), y.float(), permutation, row_of_sequence=row_of_sequence, steps=steps, on_progress=on_progress
    )


def measure(spec: EstimatorSpec[PaperOptions], states: BatchStates, problems: list[Problem], on_progress: OnProgress) -> Measured:
    """Run the procedure on each problem."""
    outcomes = states.distinct
    has_repeats = len(outcomes.counts) < len(outcomes.of_sequence)
    of_sequence = torch.from_numpy(outcomes.of_sequence).to(states.device).long() if has_repeats else None
    estimates = []
    for problem in problems:
        x, y = (states.table(layer, outcomes).tile(slice(None)) for layer in (problem.block, problem.block + 1))
        listed, population = ceilings_at(states.corpus, problem)
        estimates.append(
            paper_estimate(
                x,
                y,
                spec.options,
                row_of_sequence=of_sequence,
                ceiling_nats=listed,
                ceiling_population_nats=population,
                on_progress=on_progress,
            )
        )
    return Measured(estimates=estimates)


def of_arrays(spec: EstimatorSpec[PaperOptions], pair: GivenPair, on_progress: OnProgress) -> MIEstimate:
    """Run the procedure on anyone's paired rows, centred and of root mean square 1: its critic sees scale."""
    (x, x_flags), (y, y_flags) = pair.x(together=True), pair.y(together=True)
    ceiling = pair.classes.ceiling_nats
    estimate = paper_estimate(_of_unit_rms(x), _of_unit_rms(y), spec.options, ceiling_nats=ceiling, on_progress=on_progress)
    return replace(estimate, flags=(*estimate.flags, *x_flags, *y_flags))


def _of_unit_rms(rows: Tensor) -> Tensor:
    """Rows (row, dimension) around their mean, with a mean square of 1 over all dimensions."""
    centred = rows.double() - rows.double().mean(0)
    return (centred / centred.square().mean().sqrt()).float()
