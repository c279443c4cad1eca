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


def make_folds(groups: Groups, row_of_sequence: NDArray[np.int64] | None, folds: int, seed: int) -> tuple[Fold, ...]:
    """All folds of a split, as `make_fold` has them."""
    return tuple(make_fold(part, groups, row_of_sequence, folds, seed) for part in range(folds))


def make_fold(part: int, groups: Groups, row_of_sequence: NDArray[np.int64] | None, folds: int, seed: int) -> Fold:
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
        group_index = np.arange(num_sequences, dtype=np.int32)
    else:
        group_index = np.unique(groups, return_inverse=True)[1].astype(np.int32)
    num_groups = int(group_index.max()) + 1
    num_parts = max(folds, PARTS_OF_ONE_FOLD if folds == 1 else 2)
    if num_groups < 2 * VALIDATION_EVERY or num_groups < 2 * num_parts:
        raise InputError(
            f"{num_groups} distinct sequences are too few for {folds} folds; give more distinct sequences or fewer folds"
        )
    rank = np.empty(num_groups, dtype=np.int32)
    rank[np.argsort(_hashes(num_groups, seed), kind="stable")] = np.arange(num_groups, dtype=np.int32)
    return _fold(rank[group_index], row_of_sequence, part, num_parts, num_groups)


def _fold(rank: NDArray[np.int32], rows: NDArray[np.int64] | None, part: int, num_parts: int, num_groups: int) -> Fold:
    shuffled = np.argsort(rank, kind="stable").astype(np.int32)
    in_test = rank[shuffled].astype(np.int64) * num_parts // num_groups == part
    in_validation = ~in_test & (rank[shuffled] % VALIDATION_EVERY == 0)
    test_sequences = shuffled[in_test]
    test, entries = _side(test_sequences, rank, rows)
    return Fold(
        train=_side(shuffled[~in_test & ~in_validation], rank, rows)[0],
        validation=_side(shuffled[in_validation], rank, rows)[0],
        test=test,
        test_sequences=torch.from_numpy(test_sequences),
        entries=entries,
    )


def _side(
    sequences: NDArray[np.int32], rank: NDArray[np.int32], row_of_sequence: NDArray[np.int64] | None
) -> tuple[SplitPart, Tensor | None]:
    """A side of a split, its sequences in the order of their rank, and the index (sequence,) into its rows of each of them.

    The index is None, and the rows are the sequences themselves, where each is one.
    """
    kinds = rank[sequences] if row_of_sequence is None else row_of_sequence[sequences]
    kind, first, entries, counts = np.unique(kinds, return_index=True, return_inverse=True, return_counts=True)
    are_rows = row_of_sequence is None and len(kind) == len(sequences)
    rows = sequences if are_rows else sequences[first] if row_of_sequence is None else kind.astype(np.int32)
    side = SplitPart(
        rows=torch.from_numpy(rows),
        probabilities=_shares(counts) if row_of_sequence is None else torch.from_numpy(counts / counts.sum()),
        num_sequences=len(sequences),
        is_weighted=row_of_sequence is not None,
    )
    return side, None if are_rows else torch.from_numpy(entries)


def _shares(counts: NDArray[np.int64]) -> Tensor:
    """(row,) float64 shares of ``counts`` in a draw; one number, seen as many times, where all are equal."""
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
