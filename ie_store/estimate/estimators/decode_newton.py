"""Newton's method for the few coefficients that validation rows decide about: concave problems of a handful of unknowns."""

from collections.abc import Callable

import torch
from torch import Tensor

Objective = Callable[[Tensor], tuple[float, Tensor, Tensor]]
"""Value, gradient (coefficient,) and negative Hessian (coefficient, coefficient) at coefficients (coefficient,)."""
MOST_STEPS, MOST_HALVINGS = 20, 8
LEAST_GAIN = 1e-5
"""Nats of gain that a further step must promise."""
JITTER = 1e-6


def maximise(objective: Objective, start: Tensor) -> tuple[Tensor, float]:
    """Coefficients near the maximum of a concave ``objective``, and its value there; never below that of ``start``."""
    best, (value, gradient, curvature) = start, objective(start)
    for _ in range(MOST_STEPS):
        step = _step(gradient, curvature)
        if float(gradient @ step) < LEAST_GAIN:
            break
        for _halving in range(MOST_HALVINGS):
            found = objective(best + step)
            if found[0] > value:
                break
            step = step / 2
        else:
            break
        best, (value, gradient, curvature) = best + step, found
    return best, value


def _step(gradient: Tensor, curvature: Tensor) -> Tensor:
    doubled = curvature.double()
    ridge = JITTER * doubled.diagonal().mean().clamp_min(JITTER)
    eye = torch.eye(len(doubled), dtype=doubled.dtype, device=doubled.device)
    step: Tensor = torch.linalg.solve(doubled + ridge * eye, gradient.double())
    return step.to(gradient.dtype)
