"""The linear critic: the log-density ratio of a Gaussian with the canonical correlations of x and y.

Directions come from train rows; how much of each correlation is real is read off validation rows, where a direction
that was fitted to noise correlates with nothing. The scores are separable, so all pairs are one matmul.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ie_store.estimate.critics.moments import PairMoments, SlabMoments, pair_moments
from ie_store.estimate.critics.rows import Rows
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

    def turned(self, x_basis: Tensor | None, y_basis: Tensor | None) -> "LinearCritic":
        """The critic of rows that were given to this one in bases (dimension, direction); None: as they are."""
        x_map, y_map = (
            side if basis is None else basis.float() @ side for side, basis in ((self.x_map, x_basis), (self.y_map, y_basis))
        )
        return replace(self, x_map=x_map, y_map=y_map)

    @staticmethod
    def stacked(critics: Sequence["LinearCritic"]) -> "LinearCritic":
        """The critics of several problems as one."""
        names = vars(critics[0])
        return LinearCritic(**{name: torch.cat([getattr(critic, name) for critic in critics]) for name in names})

    def where(self, chosen: Tensor, other: "LinearCritic") -> "LinearCritic":
        """This critic for the problems in ``chosen`` (problem,), ``other`` for the rest."""
        merged = {
            name: torch.where(chosen.view(-1, *[1] * (tensor.dim() - 1)), tensor, getattr(other, name))
            for name, tensor in vars(self).items()
        }
        return LinearCritic(**merged)


def fit_linear(rows: Rows, train: SplitPart, validation: SplitPart) -> tuple[LinearCritic, ...]:
    """One `LinearCritic` per ridge, all from one eigendecomposition per slab; which is best, the caller measures.

    Problems are fitted one after the other, so that few covariances are held however many there are. Rows that are fewer than
    their dimensions are fitted within their span, where there is nothing beside it.
    """
    pairs = rows.pairs
    rows, bases = _within_span(rows)
    fitted_slabs: dict[int, SlabMoments] = {}
    seen_slabs: dict[int, SlabMoments] = {}
    axes: dict[int, tuple[Tensor, Tensor]] = {}
    critics: list[list[LinearCritic]] = [[] for _ in RIDGES]
    for problem, (x, y) in enumerate(zip(pairs.x, pairs.y, strict=True)):
        fitted, seen = pair_moments(rows, train, problem, fitted_slabs), pair_moments(rows, validation, problem, seen_slabs)
        for slab, moments in ((x, fitted.x), (y, fitted.y)):
            if slab not in axes:
                axes[slab] = torch.linalg.eigh(moments.covariance)
        for ridge, of_ridge in zip(RIDGES, critics, strict=True):
            of_ridge.append(_fit_problem(fitted, seen, axes[x], axes[y], ridge).turned(bases[x], bases[y]))
        later = {*pairs.x[problem + 1 :], *pairs.y[problem + 1 :]}
        fitted_slabs = {slab: found for slab, found in ((x, fitted.x), (y, fitted.y), *fitted_slabs.items()) if slab in later}
        seen_slabs = {slab: found for slab, found in ((x, seen.x), (y, seen.y), *seen_slabs.items()) if slab in later}
        axes = {slab: found for slab, found in axes.items() if slab in later}
    return tuple(map(LinearCritic.stacked, critics))


def _within_span(rows: Rows) -> tuple[Rows, list[Tensor | None]]:
    """Rows fewer than their dimensions in bases (dimension, direction) of their spans, by slab; others as they are."""
    if not rows.kept or rows.pairs.num_rows >= min(rows.pairs.sizes):
        return rows, [None] * len(rows.pairs.slabs)
    bases = [torch.linalg.qr(scores.T.double()).Q for scores in rows.kept]
    within = tuple(scores.double() @ basis for scores, basis in zip(rows.kept, bases, strict=True))
    return replace(rows, kept=within), list(bases)


def _fit_problem(
    fitted: PairMoments, seen: PairMoments, x_axes: tuple[Tensor, Tensor], y_axes: tuple[Tensor, Tensor], ridge: float
) -> LinearCritic:
    """The critic of one problem, from the eigenvalues and eigenvectors of x and of y on train rows."""
    # In float64: what few rows hold, both sides tell all but perfectly, and directions whose correlations differ by 1e-4 would be
    # turned into each other by float32, on each machine in its own way.
    x_white, y_white = (
        vectors.where(side.covariance.diagonal()[:, None] > 0, 0.0) * _inverse_root(values.clamp_min(0), ridge)
        for side, (values, vectors) in ((fitted.x, x_axes), (fitted.y, y_axes))
    )
    left, _, right = torch.linalg.svd(x_white.T @ fitted.cross @ y_white, full_matrices=False)
    return _validated(x_white @ left[:, :MOST_DIRECTIONS], y_white @ right[:MOST_DIRECTIONS].T, seen)


def _inverse_root(eigenvalues: Tensor, ridge: float) -> Tensor:
    """(direction,) whitening factors; 0 along directions without variance."""
    return torch.where(eigenvalues > 1e-9, (eigenvalues + ridge).rsqrt(), 0.0)


def _validated(x_map: Tensor, y_map: Tensor, seen: PairMoments) -> LinearCritic:
    """Scale every direction to unit variance on validation rows, whose moments are ``seen``, and take its correlation there."""
    x_scale, y_scale = (
        _variances(side, moments.covariance).sqrt().clamp_min(1e-6) for side, moments in ((x_map, seen.x), (y_map, seen.y))
    )
    products = ((seen.cross @ y_map) * x_map).sum(0)
    # Train correlations are biased upward, most of all where there are nearly as many dimensions as rows; validation rows
    # shrink a direction of noise to 0. Directions come in the order of their train correlations: that the true
    # ones fall likewise is all that is assumed.
    correlations = decreasing_isotonic((products / (x_scale * y_scale))[None])[0].clamp(0, LARGEST_CORRELATION)
    # The direction itself is rescaled: the score is a density ratio only of unit-variance directions.
    return LinearCritic(
        x_map=(x_map / x_scale).float()[None],
        y_map=(y_map / y_scale).float()[None],
        x_shift=(seen.x.mean @ x_map / x_scale).float()[None],
        y_shift=(seen.y.mean @ y_map / y_scale).float()[None],
        correlations=correlations.float()[None],
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
