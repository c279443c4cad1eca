"""The linear critic: the log-density ratio of a Gaussian with the canonical correlations of x and y.

Directions come from train rows; how much of each correlation is real is read off validation rows, where a direction
that was fitted to noise correlates with nothing. The scores are separable, so all pairs are one matmul.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ie_store.estimate.critics.moments import Moments, moments
from ie_store.estimate.critics.rows import PairedSlabs, Rows
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


def fit_linear(rows: Rows, train: SplitPart, validation: SplitPart) -> tuple[LinearCritic, ...]:
    """One `LinearCritic` per ridge, all from one eigendecomposition per slab; which is best, the caller measures."""
    fitted, seen = moments(rows, train), moments(rows, validation)
    principal = [torch.linalg.eigh(covariance) for covariance in fitted.covariances]
    critics = []
    for ridge in RIDGES:
        white = [vectors * _inverse_root(values.clamp_min(0), ridge) for values, vectors in principal]
        x_white, y_white = (torch.stack([white[slab] for slab in slabs]) for slabs in (rows.pairs.x, rows.pairs.y))
        left, _, right = torch.linalg.svd((x_white.transpose(1, 2) @ fitted.cross @ y_white).float(), full_matrices=False)
        x_map = x_white @ left[..., :MOST_DIRECTIONS].double()
        y_map = y_white @ right[:, :MOST_DIRECTIONS].transpose(1, 2).double()
        critics.append(_validated(x_map, y_map, seen, rows.pairs))
    return tuple(critics)


def _inverse_root(eigenvalues: Tensor, ridge: float) -> Tensor:
    """(direction,) whitening factors; 0 along directions without variance."""
    return torch.where(eigenvalues > 1e-9, (eigenvalues + ridge).rsqrt(), 0.0)


def _validated(x_map: Tensor, y_map: Tensor, seen: Moments, pairs: PairedSlabs) -> LinearCritic:
    """Scale every direction to unit variance on validation rows, whose moments are ``seen``, and take its correlation there."""
    x_mean, y_mean = (torch.stack([seen.means[slab] for slab in slabs])[:, None] for slabs in (pairs.x, pairs.y))
    x_scale, y_scale = (
        torch.stack([_variances(side[problem], seen.covariances[slab]) for problem, slab in enumerate(slabs)])
        .sqrt()
        .clamp_min(1e-6)
        for side, slabs in ((x_map, pairs.x), (y_map, pairs.y))
    )
    products = ((seen.cross @ y_map) * x_map).sum(1)
    # Train correlations are biased upward, most of all where there are nearly as many dimensions as rows; validation rows
    # shrink a direction of noise to 0. Directions come in the order of their train correlations: that the true
    # ones fall likewise is all that is assumed.
    correlations = decreasing_isotonic(products / (x_scale * y_scale)).clamp(0, LARGEST_CORRELATION)
    # The direction itself is rescaled: the score is a density ratio only of unit-variance directions.
    return LinearCritic(
        x_map=(x_map / x_scale[:, None]).float(),
        y_map=(y_map / y_scale[:, None]).float(),
        x_shift=((x_mean @ x_map)[:, 0] / x_scale).float(),
        y_shift=((y_mean @ y_map)[:, 0] / y_scale).float(),
        correlations=correlations.float(),
    )


def _variances(directions: Tensor, covariance: Tensor) -> Tensor:
    """(direction,) variances along ``directions`` (dimension, direction)."""
    return ((covariance @ directions) * directions).sum(0).clamp_min(0)


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
