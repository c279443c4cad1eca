"""Rows of states as a discrete set: which of them are equal, and what that makes exactly known."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ie_store.prefixes import entropy_nats

REPEATING_SHARE = 0.5
"""Rows are a discrete set, and a table of distinct rows with weights, where at most this share of them is distinct. A choice:
the exact sums of a table then take at most a quarter of the pairs of a draw."""


@dataclass(frozen=True, kw_only=True)
class PairedClasses:
    """Classes of equal rows of x, of y, and of both together."""

    x: NDArray[np.int64]
    """(row,)"""
    y: NDArray[np.int64]
    """(row,)"""
    joint: NDArray[np.int64]
    """(row,)"""
    weights: NDArray[np.float64]
    """(row,) positive; all 1 for a draw"""
    is_weighted: bool
    """The rows are a table with weights of the caller's."""

    @property
    def exact_nats(self) -> float | None:
        """Plug-in H(x) + H(y) - H(x, y) where both sides are discrete sets; None otherwise."""
        if not (self.is_weighted or (_repeats(self.x) and _repeats(self.y))):
            return None
        x, y, joint = (_entropy(classes, self.weights) for classes in (self.x, self.y, self.joint))
        return max(0.0, x + y - joint)

    @property
    def ceiling_nats(self) -> float | None:
        """`exact_nats`, or the entropy of the one side that is a discrete set; None where neither is."""
        entropies = [_entropy(classes, self.weights) for classes in (self.x, self.y) if _repeats(classes)]
        exact = self.exact_nats
        return exact if exact is not None else min(entropies, default=None)


def pair_classes(x: NDArray[np.int64], y: NDArray[np.int64], weights: NDArray[np.float64] | None) -> PairedClasses:
    """The classes of both sides together, from those of ``x`` and of ``y``, both (row,)."""
    return PairedClasses(
        x=x,
        y=y,
        joint=np.unique(x * (y.max() + 1) + y, return_inverse=True)[1].astype(np.int64),
        weights=np.ones(len(x)) if weights is None else weights,
        is_weighted=weights is not None,
    )


def _repeats(classes: NDArray[np.int64]) -> bool:
    return int(classes.max()) + 1 <= REPEATING_SHARE * len(classes)


def _entropy(classes: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    return entropy_nats(np.bincount(classes, weights=weights))
