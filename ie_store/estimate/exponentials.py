"""Exponentials without denormal numbers, which take some 50 times as long, and softmax and log-sum-exp made of them."""

from torch import Tensor

LEAST_EXPONENT = -80.0
"""Smaller ones count as this. Beside the largest, whose exponential is 1, a float32 sum shows neither."""


def exp_below_(values: Tensor, most: Tensor) -> Tensor:
    """exp(values - most) in the place of ``values``, for ``most`` their maximum, or more than all of them."""
    return values.sub_(most).clamp_(min=LEAST_EXPONENT).exp_()


def log_sum_exp_(values: Tensor, dim: int) -> Tensor:
    """ln of the sum over ``dim`` of exp of ``values``, which are used up."""
    most = values.amax(dim, keepdim=True)
    return (most + exp_below_(values, most).sum(dim, keepdim=True).log()).squeeze(dim)


def softmax_(values: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """ln of the sum over ``dim`` of exp of ``values``, and their shares in it, in place of ``values``."""
    most = values.amax(dim, keepdim=True)
    shares = exp_below_(values, most)
    sums = shares.sum(dim, keepdim=True)
    return (most + sums.log()).squeeze(dim), shares.div_(sums)


def log_sum_exp(values: Tensor, dim: int) -> Tensor:
    """ln of the sum over ``dim`` of exp of ``values``, with its gradient."""
    most = values.detach().amax(dim, keepdim=True)
    return ((values - most).clamp(min=LEAST_EXPONENT).exp().sum(dim, keepdim=True).log() + most).squeeze(dim)
