"""What is known exactly before any critic is trained: ceilings from the token prefixes, and equal rows of states.

The model is deterministic and the corpus a finite list, so with S -> h injective on the corpus the Shannon information
between neighbouring layers is an entropy of token prefixes::

    I(h_0; h_1)     macro, block 0     H(last token)     h_0 sees its own token only
    I(h_b; h_b+1)   macro, block >= 1  H(prefix)
    I(h_b; h_b+1)   micro, any block   H(token)
    E(b, t)         macro(b, t) - mean of micro over positions 0..t

A beginning-of-sequence token is the same in every row and adds nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ie_store.prefixes import entropy_nats, prefix_counts, token_counts
from ie_store.specs import CorpusSpec

Nats = NDArray[np.float64]
Counts = NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """Exact values in nats over the full grid (block, position); NaN where they are not known."""

    macro: Nats
    micro: Nats

    @property
    def emergence(self) -> Nats:
        """E (block, position): macro minus the mean of micro over positions 0..position."""
        return self.macro - running_mean(self.micro)


def running_mean(values: Nats) -> Nats:
    """Mean of ``values`` (..., position) over positions 0..position."""
    means: Nats = np.cumsum(values, axis=-1) / np.arange(1, values.shape[-1] + 1)
    return means


def ceilings(prefix_nats: Nats, token_nats: Nats, num_blocks: int) -> Ceilings:
    """Spread H(prefix) and H(token), both (position,), over the grid (block, position)."""
    micro = np.tile(token_nats, (num_blocks, 1))
    macro = np.tile(prefix_nats, (num_blocks, 1))
    macro[0] = token_nats
    return Ceilings(macro=macro, micro=micro)


def ceilings_by(entropy: Callable[[Counts], float], tokens: NDArray[np.integer], num_blocks: int) -> Ceilings:
    """Ceilings with ``entropy`` (plug-in, Miller-Madow, Chao-Shen, ...) applied to the counts of sorted rows."""
    prefix = np.array([entropy(counts) for counts in prefix_counts(tokens)])
    token = np.array([entropy(counts) for counts in token_counts(tokens)])
    return ceilings(prefix, token, num_blocks)


def ceilings_listed(tokens: NDArray[np.integer], num_blocks: int) -> Ceilings:
    """Exact values of the corpus as listed: plug-in entropies of sorted rows ``tokens`` (sequence, position), uncorrected."""
    return ceilings_by(entropy_nats, tokens, num_blocks)


def ceilings_population(tokens: NDArray[np.integer], corpus: CorpusSpec, num_blocks: int) -> Ceilings:
    """Values of the population the corpus stands for.

    The recipe's closed form where it has one; the listed values where the corpus is complete; else the estimate of
    `chao_shen_nats`, NaN where the sample's coverage is 0.
    """
    if corpus.population_prefix_nats is not None and corpus.population_token_nats is not None:
        return ceilings(np.array(corpus.population_prefix_nats), np.array(corpus.population_token_nats), num_blocks)
    return ceilings_by(entropy_nats if corpus.complete else chao_shen_nats, tokens, num_blocks)


def population_source(corpus: CorpusSpec) -> str:
    """Where `ceilings_population` has its values from, for people."""
    if corpus.population_prefix_nats is not None and corpus.population_token_nats is not None:
        return "closed form of the enumeration"
    return "the listed rows, which are complete" if corpus.complete else "Chao-Shen estimate from the listed rows"


def coverage(counts: Counts) -> float:
    """Good's estimate of the population's probability mass that the sample has seen: 1 - singletons / n."""
    return float(1.0 - np.count_nonzero(counts == 1) / counts.sum())


def miller_madow_nats(counts: Counts) -> float:
    """Plug-in entropy of ``counts`` (outcome,) plus (outcomes seen - 1) / 2n; NaN where coverage is 0 (Miller 1955)."""
    if coverage(counts) == 0.0:
        return float("nan")
    return entropy_nats(counts) + (np.count_nonzero(counts) - 1) / (2.0 * float(counts.sum()))


def chao_shen_nats(counts: Counts) -> float:
    """Entropy estimate in nats of Chao and Shen (2003, eq. 8) from ``counts`` (outcome,); NaN where coverage is 0.

    The seen probabilities are shrunk by the coverage C, and each term is divided by its chance of having been seen:
    -sum C p ln(C p) / (1 - (1 - C p)^n).
    """
    covered = coverage(counts)
    if covered == 0.0:
        return float("nan")
    seen = counts[counts > 0].astype(np.float64)
    shrunk = covered * seen / seen.sum()
    with np.errstate(divide="ignore"):  # one outcome alone: ln(1 - 1) = -inf, and the chance of being seen is 1
        chance_seen = -np.expm1(seen.sum() * np.log1p(-shrunk))
    return float(max(0.0, -np.sum(shrunk * np.log(shrunk) / chance_seen)))


def within_ceiling(interval_nats: tuple[float, float], ceiling_nats: float | None) -> tuple[float, float]:
    """The interval with its ends moved to the ceiling where they lie above it."""
    if ceiling_nats is None:
        return interval_nats
    low, high = interval_nats
    return min(low, ceiling_nats), min(high, ceiling_nats)


def row_classes(rows: NDArray[np.generic]) -> NDArray[np.int64]:
    """Class (row,) of equal rows of ``rows`` (row, dimension), compared byte by byte; classes number 0..K-1."""
    raw = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
    return np.unique(raw, return_inverse=True)[1].astype(np.int64)


def num_collisions(classes: NDArray[np.integer], outcomes: NDArray[np.integer]) -> int:
    """How many ``outcomes`` (row,), prefixes or tokens, share a class of equal states (row,) with another outcome.

    0 where the states tell all outcomes apart. One outcome may have several classes: equal prefixes differ in their
    last bits between batches.
    """
    pairs = np.unique(classes.astype(np.int64) * (int(outcomes.max()) + 1) + outcomes)
    of_pair = pairs // (int(outcomes.max()) + 1)
    shared = np.bincount(of_pair)[of_pair] > 1
    return len(np.unique(pairs[shared] % (int(outcomes.max()) + 1)))
