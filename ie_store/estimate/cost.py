"""What the published procedure will cost, said before it starts."""

from time import perf_counter

import torch

from ie_store.errors import InputError
from ie_store.estimate.paper import published_flops
from ie_store.options import EstimatorSpec
from ie_store.specs import StoreLayout

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


def predicted_seconds(spec: EstimatorSpec, layout: StoreLayout, num_problems: int, device: torch.device) -> float:
    """Seconds that ``num_problems`` problems of mine-paper will take on this device."""
    flops = published_flops(layout.num_sequences, layout.hidden_size, layout.hidden_size) * spec.seeds
    return num_problems * flops / (SHARE_OF_PEAK * matmul_flops_per_second(device))


def require_agreed(spec: EstimatorSpec, layout: StoreLayout, num_problems: int, device: torch.device, *, yes: bool) -> None:
    """Raise `InputError` with the predicted time where mine-paper takes long and nobody said yes."""
    if spec.name != "mine-paper" or yes or num_problems == 0:
        return
    seconds = predicted_seconds(spec, layout, num_problems, device)
    if seconds > LONGEST_SECONDS:
        raise InputError(
            f"mine-paper would take about {_duration(seconds)}: {num_problems} problems of {layout.num_sequences:,} rows, "
            f"{_duration(seconds / num_problems)} each on {device}; say yes to that (--yes), or choose fewer --blocks, "
            "or --estimator mine"
        )


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} seconds"
