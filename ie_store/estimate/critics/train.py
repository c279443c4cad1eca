"""The one training loop: a stack of problems, mini-batches, stopped on validation rows, per problem.

Problems share the optimiser's steps but nothing else: each starts alike, keeps the parameters of its own best validation
value, and ends when that has ceased to rise. So what meets in a stack changes a value by rounding alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from ie_store.estimate.critics.networks import Parameters
from ie_store.estimate.critics.replay import Replay

CHECK_EVERY = 50
"""Steps between two looks at the validation rows. Varied by ``benchmarks/critic_constants.py``."""
PATIENCE = 4
"""Checks without a rise of the validation value in any problem after which training ends.
Varied by ``benchmarks/critic_constants.py``."""
WARM_UP_STEPS = 20
"""Steps over which the learning rate rises to its peak. Varied by ``benchmarks/critic_constants.py``."""
AVERAGING = 0.98
"""The validated parameters are a running mean over about 1 / (1 - AVERAGING) steps.
Varied by ``benchmarks/critic_constants.py``."""
AVERAGE_OVER = 0.9
"""Weight of the past in the running mean of E_q[exp T] (Belghazi et al. 2018, section 3.2).
Varied by ``benchmarks/critic_constants.py``."""
WEIGHT_DECAY = 1e-2
"""AdamW's own default. Varied by ``benchmarks/critic_constants.py``."""
LEAST_RISE = 0.002
"""A rise that keeps training going, in any problem: of 1 nat, or of the value where that is more.
Varied by ``benchmarks/critic_constants.py``."""
RISING_NATS = 0.02
"""A validation value that rose by more than this over the last quarter of the step limit was still rising.
Varied by ``benchmarks/critic_constants.py``."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Parameters at their best validation value."""

    parameters: Parameters
    validation_nats: Tensor
    """(problem,)"""
    best_step: Tensor
    """(problem,) optimiser step of that value"""
    steps: Tensor
    """(problem,) optimiser steps taken until the value had ceased to rise"""
    still_rising: Tensor
    """(problem,) the step limit cut off a validation value that still rose"""


BatchLoss = Callable[..., Tensor]
"""Of parameters and a batch, (problem,)."""


class Average:
    """Running mean of a positive (problem,) value: E_q[exp T] over the batches seen."""

    def __init__(self) -> None:
        self.mean: Tensor | None = None

    def after(self, value: Tensor) -> Tensor:
        """The mean once ``value`` has entered it, in its place: a recorded step finds it there again."""
        if self.mean is None:
            self.mean = value.clone()
            return self.mean
        return self.mean.copy_(AVERAGE_OVER * self.mean + (1 - AVERAGE_OVER) * value)


@contextmanager
def tensor_cores() -> Iterator[None]:
    """Matrix products of float32 on a CUDA device by TF32: factors of 11 bits, sums in float32. On a CPU as they are.

    For training alone: what is validated and tested is computed as the process has it, by default in float32
    (``benchmarks/matmul_precision.py``). The setting is the process's, so one with several threads on a GPU may mix them.
    """
    matmul = torch.backends.cuda.matmul
    before, matmul.fp32_precision = matmul.fp32_precision, "tf32"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def fit(
    parameters: Parameters,
    next_batch: Callable[[], tuple[BatchLoss, tuple[Tensor, ...]]],
    validate: Callable[[Parameters], Tensor],
    *,
    active: Tensor,
    steps: int,
    learning_rate: float,
    patience: int = PATIENCE,
    enough_nats: float = inf,
    on_step: Callable[[int], None],
) -> Trained:
    """Minimise the loss (problem,) of batch after batch and keep what ``validate(parameters)`` (problem,) likes best.

    ``next_batch()`` gives a loss and what it takes beside the parameters; losses differ in nothing else (`Replay`).

    The untrained parameters count as a candidate, so that training never makes the validation value worse. Problems that are
    not ``active`` (problem,) are left as they are, and so are those that validation likes by ``enough_nats`` untrained.
    """
    weights = [tensor.requires_grad_() for tensor in parameters.values()]
    replay = Replay(active.device)
    average = {name: tensor.detach().clone() for name, tensor in parameters.items()}
    best = {name: tensor.clone() for name, tensor in average.items()}
    best_nats = validate(average)
    best_step = torch.zeros_like(best_nats, dtype=torch.int64)
    history = [best_nats]
    last_rise, risen_to, taken = torch.zeros_like(best_step), best_nats, torch.zeros_like(best_step)
    active = active & (best_nats < enough_nats)
    if bool(active.any()):
        optimiser = torch.optim.AdamW(weights, lr=learning_rate, betas=(0.9, 0.99), weight_decay=WEIGHT_DECAY, fused=True)
    for step in range(1, steps + 1 if bool(active.any()) else 1):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(1.0, step / WARM_UP_STEPS)
        batch_loss, inputs = next_batch()

        def gradients(*inputs: Tensor, batch_loss: BatchLoss = batch_loss) -> tuple[Tensor, ...]:
            return torch.autograd.grad(batch_loss(parameters, *inputs).sum(), weights)

        with tensor_cores():
            found = replay(gradients, *inputs)
        for weight, gradient in zip(weights, found, strict=True):
            weight.grad = gradient
        optimiser.step()
        # The window grows with the steps: a constant one would hold on to the random start for its first 50 steps.
        share = 1 - min(AVERAGING, step / (step + 10))
        for name, tensor in average.items():
            tensor.lerp_(parameters[name].detach(), share)
        on_step(step)
        if step % CHECK_EVERY and step != steps:
            continue
        taken = torch.where(active, step, taken)
        nats = validate(average)
        better = active & (nats > best_nats)  # NaN is never better: what overflowed is left behind
        for name, tensor in best.items():
            best[name] = torch.where(better.view(-1, *[1] * (tensor.dim() - 1)), average[name], tensor)
        best_nats, best_step = torch.where(better, nats, best_nats), torch.where(better, step, best_step)
        history.append(best_nats)
        # Against the value at the last rise, not the last check: many rises too small to count one by one do add up.
        rises = best_nats > risen_to + LEAST_RISE * risen_to.clamp_min(1)
        last_rise, risen_to = torch.where(rises, step, last_rise), torch.where(rises, best_nats, risen_to)
        active = active & (step - last_rise < patience * CHECK_EVERY)
        if not bool(active.any()):
            break
    # One entry per check: the value at three quarters of the training.
    rise = best_nats - history[len(history) * 3 // 4]
    return Trained(
        parameters=best,
        validation_nats=best_nats,
        best_step=best_step,
        steps=taken,
        still_rising=(rise > RISING_NATS) & (taken == steps),
    )
