"""The linear critic: the log-density ratio of a Gaussian with the canonical correlations of x and y.

Directions come from train rows; how much of each correlation is real is read off validation rows, where a direction
that was fitted to noise correlates with nothing. The scores are separable, so all pairs are one matmul.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ie_store.estimate.critics.scores import SeparableScores, SplitPart

RIDGES = (1e-3, 0.1)
"""Added to the eigenvalues of the covariances of unit-variance dimensions before they are inverted.
Varied by ``benchmarks/critic_constants.py``."""
LARGEST_CORRELATION = 0.9999
"""4.3 nats a direction: beyond it the score divides by next to nothing. Varied by ``benchmarks/critic_constants.py``."""
MOST_DIRECTIONS = 320
"""Pairs of directions that enter the scores, the most correlated ones. Varied by ``benchmarks/critic_constants.py``."""


@dataclass(frozen=True, kw_only=True)
class LinearCritic:
    """Canonical directions and their correlations."""

    x_map: Tensor
    """(problem, x dimension, direction)"""
    y_map: Tensor
    """(problem, y dimension, direction)"""
    x_shift: Tensor
    """(problem, direction)"""
    y_shift: Tensor
    """(problem, direction)"""
    correlations: Tensor
    """(problem, direction), as found on validation rows, falling"""

    def factors(self, x: Tensor, y: Tensor) -> SeparableScores:
        """Scores of rows ``x`` and ``y`` (problem, row, dimension)."""
        u, v = x @ self.x_map - self.x_shift[:, None], y @ self.y_map - self.y_shift[:, None]
        rho = self.correlations[:, None]
        rest = 1 - rho.square()
        quadratic = rho.square() / (2 * rest)
        return SeparableScores(
            left=u * rho / rest,
            right=v,
            row=-(u.square() * quadratic).sum(-1) - 0.5 * rest.log().sum(-1),
            column=-(v.square() * quadratic).sum(-1),
        )

    def weakened(self, strength: float) -> "LinearCritic":
        """The same directions, all correlations times ``strength``."""
        return replace(self, correlations=self.correlations * strength)

    def where(self, chosen: Tensor, other: "LinearCritic") -> "LinearCritic":
        """This critic for the problems in ``chosen`` (problem,), ``other`` for the rest."""
        merged = {
            name: torch.where(chosen.view(-1, *[1] * (tensor.dim() - 1)), tensor, getattr(other, name))
            for name, tensor in vars(self).items()
        }
        return LinearCritic(**merged)


def fit_linear(x: Tensor, y: Tensor, train: SplitPart, validation: SplitPart) -> tuple[LinearCritic, ...]:
    """One `LinearCritic` per ridge for ``x`` and ``y`` (problem, row, dimension); which is best, the caller measures."""
    x_mean, x_values, x_vectors = _principal(x, train)
    y_mean, y_values, y_vectors = _principal(y, train)
    weights = train.probabilities[:, None]
    cross = (x[:, train.rows].double() * weights).transpose(1, 2) @ y[:, train.rows].double() - x_mean.transpose(1, 2) @ y_mean
    critics = []
    for ridge in RIDGES:
        x_white = x_vectors * _inverse_root(x_values, ridge)
        y_white = y_vectors * _inverse_root(y_values, ridge)
        left, _, right = torch.linalg.svd((x_white.transpose(1, 2) @ cross @ y_white).float(), full_matrices=False)
        x_map = x_white.float() @ left[..., :MOST_DIRECTIONS]
        y_map = y_white.float() @ right[:, :MOST_DIRECTIONS].transpose(1, 2)
        critics.append(_validated(x, y, x_map, y_map, validation))
    return tuple(critics)


def _principal(values: Tensor, side: SplitPart) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted mean (problem, 1, dimension), eigenvalues and eigenvectors of the covariance of a side's rows."""
    rows, weights = values[:, side.rows].double(), side.probabilities[:, None]
    mean = (rows * weights).sum(1, keepdim=True)
    centred = rows - mean
    eigenvalues, eigenvectors = torch.linalg.eigh((centred * weights).transpose(1, 2) @ centred)
    return mean, eigenvalues.clamp_min(0), eigenvectors


def _inverse_root(eigenvalues: Tensor, ridge: float) -> Tensor:
    """(problem, 1, direction) whitening factors; 0 along directions without variance."""
    factors = torch.where(eigenvalues > 1e-9, (eigenvalues + ridge).rsqrt(), 0.0)
    return factors[:, None]


def _validated(x: Tensor, y: Tensor, x_map: Tensor, y_map: Tensor, side: SplitPart) -> LinearCritic:
    """Scale every direction to unit variance on validation rows, and take its correlation there."""
    weights = side.probabilities.float()
    u, v = x[:, side.rows] @ x_map, y[:, side.rows] @ y_map
    u_mean, v_mean = weights @ u, weights @ v
    u_scale = (weights @ (u - u_mean[:, None]).square()).sqrt().clamp_min(1e-6)
    v_scale = (weights @ (v - v_mean[:, None]).square()).sqrt().clamp_min(1e-6)
    products = (u - u_mean[:, None]) * (v - v_mean[:, None])
    # Train correlations are biased upward, most of all where there are nearly as many dimensions as rows; validation rows
    # shrink a direction of noise to 0. Directions come in the order of their train correlations: that the true
    # ones fall likewise is all that is assumed.
    correlations = decreasing_isotonic((weights @ products) / (u_scale * v_scale)).clamp(0, LARGEST_CORRELATION)
    # The direction itself is rescaled: the score is a density ratio only of unit-variance directions.
    return LinearCritic(
        x_map=x_map / u_scale[:, None],
        y_map=y_map / v_scale[:, None],
        x_shift=u_mean / u_scale,
        y_shift=v_mean / v_scale,
        correlations=correlations,
    )


def decreasing_isotonic(values: Tensor) -> Tensor:
    """Least-squares falling sequence (problem, direction): pools noise instead of squaring it, one by one, into information."""
    # max-min formula: entry k is the least, over starts i <= k, of the largest mean of values[i..j] over ends j >= k. Quadratic
    # in directions, but one step for all problems at once, where pooling neighbours (PAVA) is a loop per problem.
    sums = torch.nn.functional.pad(values.cumsum(-1), (1, 0))
    length = values.shape[-1]
    index = torch.arange(length, device=values.device)
    counts = (index[None, :] - index[:, None] + 1).clamp_min(1)
    means = (sums[:, None, 1:] - sums[:, :-1, None]) / counts
    # means[i, j] of an end before its start does not exist: -inf loses every maximum over ends ...
    means = means.masked_fill(index[None, :] < index[:, None], -torch.inf)
    best = means.flip(-1).cummax(-1).values.flip(-1)
    # ... and best[i, k] of a start after k is none either: +inf loses every minimum over starts.
    best = best.masked_fill(index[None, :] < index[:, None], torch.inf)
    return best.amin(1)
