"""What the published procedure will cost, said before it starts."""

from collections.abc import Sequence
from time import perf_counter

import torch

from ie_store.errors import InputError
from ie_store.estimate.batch_states import ItemShape, Needs
from ie_store.estimate.critics.networks import PUBLISHED_WIDTHS
from ie_store.estimate.estimators.mine_paper import PUBLISHED_STEPS, published_flops, rows_per_step
from ie_store.estimator_options import PaperOptions
from ie_store.estimators import EstimatorSpec

LONGEST_SECONDS = 600.0
"""Predicted time of mine-paper beyond which ``yes`` is wanted."""
SHARE_OF_PEAK = 0.7
"""Share of a large matmul's speed that the procedure reaches."""
PROBE_SIZE = 1024
PROBE_SECONDS = 0.2


def matmul_flops_per_second(device: torch.device) -> float:
    """Speed of large float32 matmuls, measured for a fifth of a second."""
    values = torch.ones((PROBE_SIZE, PROBE_SIZE), device=device)
    torch.mm(values, values).sum().item()
    started, count = perf_counter(), 0
    while perf_counter() - started < PROBE_SECONDS:
        torch.mm(values, values).sum().item()
        count += 1
    return count * 2 * PROBE_SIZE**3 / (perf_counter() - started)


def predicted_seconds(options: PaperOptions, hidden_size: int, rows: Sequence[int], device: torch.device) -> float:
    """Seconds that mine-paper will take on this device for problems of ``rows`` (problem,) pairs a step."""
    flops = sum(published_flops(count, hidden_size, hidden_size) for count in rows) * options.seeds
    return flops / (SHARE_OF_PEAK * matmul_flops_per_second(device))


def require_consent(
    spec: EstimatorSpec[PaperOptions], hidden_size: int, outcomes: Sequence[int], num_sequences: int, device: torch.device
) -> None:
    """Raise `InputError` with the predicted time where mine-paper takes long.

    Args:
        spec: of mine-paper.
        hidden_size: of the states.
        outcomes: (problem,) distinct prefixes or tokens of each problem.
        num_sequences: of the corpus.
        device: that computes.
    """
    rows = [rows_per_step(count, num_sequences) for count in outcomes]
    seconds = predicted_seconds(spec.options, hidden_size, rows, device)
    if seconds > LONGEST_SECONDS:
        longest = predicted_seconds(spec.options, hidden_size, [max(rows)], device)
        raise InputError(
            f"mine-paper would take about {_duration(seconds)} for {len(rows)} problems, up to {_duration(longest)} each "
            f"({max(rows):,} rows, {PUBLISHED_STEPS:,} steps) on {device}; say yes to that (--yes), or choose fewer --blocks, "
            "or --estimator mine"
        )


def needs(spec: EstimatorSpec[PaperOptions], shape: ItemShape) -> Needs:
    """Full batches: both sides in float32, every layer's values of every joint and negative pair, and their gradients."""
    pairs = shape.num_rows + min(shape.num_rows**2, shape.num_sequences)
    of_pair = 2 * shape.hidden_size + 2 * sum(PUBLISHED_WIDTHS) + 2 * PUBLISHED_WIDTHS[0]
    return Needs(working_bytes=4 * (pairs * of_pair + 4 * shape.num_rows * shape.hidden_size))


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} seconds"
