"""The trained critics, stacked over problems: two encoders (separable), and the published network over pairs.

Parameters are dictionaries of explicit tensors with the leading dimension `problem`; every layer is one batched matmul.
All problems of a stack start alike, so that none depends on which others it met.
"""

from itertools import pairwise
from math import sqrt

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from ie_store.estimate.critics.scores import SeparableScores

Parameters = dict[str, Tensor]

PUBLISHED_WIDTHS = (768, 384, 192, 96, 48, 24, 12, 6, 3, 1)
"""Layer widths of the published critic (arXiv 2405.12617), after its 2d inputs."""
ENCODER_WIDTH = 256
"""Of both hidden layers. Varied by ``benchmarks/critic_constants.py``."""
RANK = 64
"""Of the separable scores that the encoders give. Varied by ``benchmarks/critic_constants.py``."""
LARGEST_RESIDUAL = 4.0
"""Most nats by which the network over pairs may change a separable score. Varied by ``benchmarks/critic_constants.py``."""
GAIN_SPEED = 10.0
"""The gain is learned this many times faster than a weight. Varied by ``benchmarks/critic_constants.py``."""


def make_encoders(num_problems: int, x_size: int, y_size: int, generator: torch.Generator) -> Parameters:
    """Random encoders of x and y whose score is 0 for every pair, until trained."""
    parameters: Parameters = {}
    for name, size in (("x", x_size), ("y", y_size)):
        widths = (size, ENCODER_WIDTH, ENCODER_WIDTH, RANK + 1)
        for layer, (inputs, outputs) in enumerate(pairwise(widths)):
            parameters[f"{name}{layer}"] = _xavier(num_problems, inputs, outputs, generator)
            parameters[f"{name}{layer}_bias"] = torch.zeros(num_problems, 1, outputs)
    parameters["x2"].zero_()
    parameters["y2"][..., -1] = 0
    return parameters


def encoder_factors(parameters: Parameters, x: Tensor, y: Tensor) -> SeparableScores:
    """Separable scores of the encoders over rows ``x`` and ``y`` (problem, row, dimension)."""
    left, right = _encode(parameters, "x", x), _encode(parameters, "y", y)
    return SeparableScores(left=left[..., :-1], right=right[..., :-1] / RANK**0.5, row=left[..., -1], column=right[..., -1])


def _encode(parameters: Parameters, name: str, values: Tensor) -> Tensor:
    for layer in range(3):
        values = torch.baddbmm(parameters[f"{name}{layer}_bias"], values, parameters[f"{name}{layer}"])
        if layer < 2:
            values = leaky_relu(values)
    return values


def _xavier(num_problems: int, inputs: int, outputs: int, generator: torch.Generator, fan_in: int | None = None) -> Tensor:
    deviation = sqrt(2 / ((fan_in or inputs) + outputs))
    return (torch.randn(1, inputs, outputs, generator=generator) * deviation).repeat(num_problems, 1, 1)


def make_pair_network(num_problems: int, x_size: int, y_size: int, generator: torch.Generator) -> Parameters:
    """The published critic, Xavier-normal, its first layer cut into the columns of x and of y."""
    first = PUBLISHED_WIDTHS[0]
    both = x_size + y_size
    parameters = {
        "x": _xavier(num_problems, x_size, first, generator, both),
        "y": _xavier(num_problems, y_size, first, generator, both),
        "bias0": torch.zeros(num_problems, 1, first),
    }
    for layer, (inputs, outputs) in enumerate(pairwise(PUBLISHED_WIDTHS), start=1):
        parameters[f"weight{layer}"] = _xavier(num_problems, inputs, outputs, generator)
        parameters[f"bias{layer}"] = torch.zeros(num_problems, 1, outputs)
    parameters["gain"] = torch.zeros(num_problems, 1)
    return parameters


def first_layer(parameters: Parameters, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The first layer's parts (problem, row, 768) of x and y: the pair (i, j) enters as part_x[i] + part_y[j]."""
    return x @ parameters["x"] + parameters["bias0"], y @ parameters["y"]


def pair_scores(parameters: Parameters, inputs: Tensor) -> Tensor:
    """Published critic's scores (problem, pair) of summed first-layer parts (problem, pair, 768)."""
    values = leaky_relu(inputs)
    last = len(PUBLISHED_WIDTHS) - 1
    for layer in range(1, last + 1):
        values = torch.baddbmm(parameters[f"bias{layer}"], values, parameters[f"weight{layer}"])
        if layer < last:
            values = leaky_relu(values)
    return values[..., 0]


def residual_scores(parameters: Parameters, inputs: Tensor) -> Tensor:
    """`pair_scores` times a learned gain that starts at 0, within +-`LARGEST_RESIDUAL`."""
    gain = GAIN_SPEED * parameters["gain"]
    return LARGEST_RESIDUAL * torch.tanh(gain * pair_scores(parameters, inputs) / LARGEST_RESIDUAL)
