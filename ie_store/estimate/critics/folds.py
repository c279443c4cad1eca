"""Which sequences train, validate and test: one split for a whole run, shared by all layers, positions and levels.

Sequences with the same group (identical full sequences) stay on one side. A fold's test rows are one part of the
groups in the order of a seeded hash; every fifth of the others validates::

    hashed groups   |  part 0  |  part 1  |
    fold 0          |   test   | t t t t v |
    fold 1          | t t t t v |   test   |

Where many sequences share a row (a token table), a side is its distinct rows with their own probabilities.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.errors import InputError
from ie_store.estimate.critics.scores import SplitPart

Groups = NDArray[np.integer] | range
"""(sequence,) numbers of the groups; a range where every sequence is one of its own, which takes no memory."""
FEWEST_SEQUENCES = 50
VALIDATION_EVERY = 5
MOST_TABLE_ROWS = 2048
"""Rows of a table that critics are chosen and validated on, all pairs of them at once."""
PARTS_OF_ONE_FOLD = 3
"""With ``folds=1`` the test rows are this fraction of all."""


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One way to train, validate and test."""

    train: SplitPart
    validation: SplitPart
    test: SplitPart
    test_sequences: Tensor
    """(test sequence,) int32 indices into all sequences."""
    entries: Tensor | None
    """`test_entries` where they are not the rows in order."""

    @property
    def test_entries(self) -> Tensor:
        """(test sequence,) index into ``test.rows`` of each sequence's row."""
        return torch.arange(len(self.test_sequences)) if self.entries is None else self.entries

    def looks(self, size: int) -> tuple[SplitPart, SplitPart]:
        """A cheaper look at validation rows, and at the train rows that normalise them: the first ``size`` of a draw.

        Of a table of many rows, those whose row numbers hash lowest, `MOST_TABLE_ROWS` that stand in either.
        """
        if not self.validation.is_weighted:
            return self.validation.head(size), self.train.head(size)
        if len(self.validation.rows) <= MOST_TABLE_ROWS and len(self.train.rows) <= MOST_TABLE_ROWS:
            return self.validation, self.train
        either = np.union1d(self.validation.rows.cpu().numpy(), self.train.rows.cpu().numpy())
        chosen = either[np.argsort(_hashes(int(either.max()) + 1, 0)[either], kind="stable")[:MOST_TABLE_ROWS]]
        kept = torch.from_numpy(np.sort(chosen)).to(self.train.rows.device)
        return self.validation.among(kept), self.train.among(kept)

    def to(self, device: torch.device) -> "Fold":
        """The same fold with its sides on ``device``."""
        sides = {name: getattr(self, name).to(device) for name in ("train", "validation", "test")}
        return replace(self, **sides)


def make_folds(groups: Groups, row_of_sequence: NDArray[np.integer] | None, folds: int, seed: int) -> tuple[Fold, ...]:
    """All folds of a split, as `make_fold` has them."""
    return tuple(make_fold(part, groups, row_of_sequence, folds, seed) for part in range(folds))


def make_fold(part: int, groups: Groups, row_of_sequence: NDArray[np.integer] | None, folds: int, seed: int) -> Fold:
    """Split sequences by group; the rows of a side that is a draw come in hashed order, each group once.

    Args:
        part: which of the folds.
        groups: (sequence,) equal numbers stay on one side.
        row_of_sequence: (sequence,) row of the problem's table that each sequence has; None for a row per sequence.
        folds: number of folds; 1 for a single split with a third of the groups as test.
        seed: of the hash.

    Raises:
        InputError: fewer than 50 sequences, or fewer groups than the split needs.
    """
    num_sequences = len(groups)
    if num_sequences < FEWEST_SEQUENCES:
        raise InputError(f"{num_sequences} sequences are too few to train and test a critic; give at least {FEWEST_SEQUENCES}")
    if isinstance(groups, range):
        group_index, num_groups = None, num_sequences
    else:
        distinct, group_index = np.unique(groups, return_inverse=True)
        num_groups = len(distinct)
    num_parts = max(folds, PARTS_OF_ONE_FOLD if folds == 1 else 2)
    if num_groups < 2 * VALIDATION_EVERY or num_groups < 2 * num_parts:
        raise InputError(
            f"{num_groups} distinct sequences are too few for {folds} folds; give more distinct sequences or fewer folds"
        )
    shuffled = np.argsort(_hashes(num_groups, seed), kind="stable").astype(np.int32)
    ranks = np.arange(num_groups, dtype=np.int32)
    if group_index is not None:
        rank_of_group = np.empty_like(ranks)
        rank_of_group[shuffled] = ranks
        shuffled = np.argsort(rank_of_group[group_index], kind="stable").astype(np.int32)
        ranks = rank_of_group[group_index[shuffled]]
    first, end = (-(-number * num_groups // num_parts) for number in (part, part + 1))
    in_test = (ranks >= first) & (ranks < end)
    in_validation = ~in_test & (ranks % VALIDATION_EVERY == 0)
    in_train, tested = ~in_test & ~in_validation, shuffled[in_test]
    test, entries = _side(tested, ranks[in_test], row_of_sequence)
    return Fold(
        train=_side(shuffled[in_train], ranks[in_train], row_of_sequence)[0],
        validation=_side(shuffled[in_validation], ranks[in_validation], row_of_sequence)[0],
        test=test,
        test_sequences=torch.from_numpy(tested),
        entries=entries,
    )


def _side(
    sequences: NDArray[np.int32], ranks: NDArray[np.int32], row_of_sequence: NDArray[np.integer] | None
) -> tuple[SplitPart, Tensor | None]:
    """A side of a split and the index (sequence,) into its rows of each of its ``sequences``, which come in rising ``ranks``.

    The index is None, and the rows are the sequences themselves, where each is one.
    """
    rows: NDArray[np.integer] = sequences
    entries: NDArray[np.integer] | None = None
    if row_of_sequence is not None:
        kinds = row_of_sequence[sequences]
        times = np.bincount(kinds)
        rows = np.flatnonzero(times)
        counts, entries = times[rows], (np.cumsum(times > 0, dtype=np.int32) - 1)[kinds]
    else:
        starts = np.diff(ranks, prepend=np.int32(-1)) != 0
        first = np.flatnonzero(starts)
        counts = np.diff(first, append=len(sequences))
        if len(first) < len(sequences):
            rows, entries = sequences[first], np.cumsum(starts, dtype=np.int32) - 1
    side = SplitPart(
        rows=torch.from_numpy(rows.astype(np.int32, copy=False)),
        probabilities=shares_of(counts),
        num_sequences=len(sequences),
        is_weighted=row_of_sequence is not None,
    )
    return side, None if entries is None else torch.from_numpy(entries)


def shares_of(counts: NDArray[np.integer]) -> Tensor:
    """(row,) float64 shares of ``counts``; one number, seen as many times, where all are equal."""
    if counts.min(initial=1) == counts.max(initial=1):
        return torch.full((1,), 1 / max(1, len(counts)), dtype=torch.float64).expand(len(counts))
    return torch.from_numpy(counts / counts.sum())


def table_fold(weights: NDArray[np.float64]) -> Fold:
    """The one fold of a table that *is* its population: all sides are all rows, weighted by ``weights`` (row,)."""
    rows = np.flatnonzero(weights > 0)
    side = SplitPart(
        rows=torch.from_numpy(rows.astype(np.int32)),
        probabilities=torch.from_numpy(weights[rows] / weights[rows].sum()),
        num_sequences=len(rows),
        is_weighted=True,
        is_whole=True,
    )
    nothing = torch.empty(0, dtype=torch.int32)
    return Fold(train=side, validation=side, test=side, test_sequences=nothing, entries=None)


def _hashes(count: int, seed: int) -> NDArray[np.uint64]:
    """SplitMix64 of 0..count-1 under ``seed``: the same on every machine and library version."""
    with np.errstate(over="ignore"):
        value = np.arange(count, dtype=np.uint64) + np.uint64(seed % 2**63) * np.uint64(0x9E3779B97F4A7C15)
        value = (value + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return value ^ (value >> np.uint64(31))
