"""The order in which rows come in batches: as data, so that it can be printed, tested and begun anywhere.

Rows that fit into memory are one group, and their order a uniform permutation. Where they do not, the shards are shuffled, as
many of them as fit are a group, and the rows of a group are a uniform permutation of those: a row meets only rows of the shards
that happen to be in its group.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import InputError

Rows = NDArray[np.int64]
AS_STORED = "as stored"


@dataclass(frozen=True, kw_only=True)
class Order:
    """All rows of an epoch."""

    groups: tuple[Rows, ...]
    """Rows read together, each (row,), in the order in which they come."""
    described: str
    """How they were mixed, for people."""

    @property
    def num_rows(self) -> int:
        """Rows of an epoch."""
        return sum(map(len, self.groups))


def make_order(rows: Rows, *, rows_per_shard: int, most_rows: int, shuffle: bool, seed: int, epoch: int) -> Order:
    """The order of ``rows`` (row,), rising numbers of sequences, in one epoch.

    Args:
        rows: which.
        rows_per_shard: sequences in a shard.
        most_rows: that are in memory at once.
        shuffle: False keeps them as they are stored.
        seed: of the shuffle.
        epoch: another number is another order.

    Raises:
        InputError: not even one shard fits.
    """
    generator = np.random.default_rng((seed, epoch))
    if len(rows) <= most_rows:
        described = f"uniform permutation of {len(rows):,} rows" if shuffle else AS_STORED
        return Order(groups=(generator.permutation(rows) if shuffle else rows,), described=described)
    shards = np.split(rows, np.flatnonzero(np.diff(rows // rows_per_shard)) + 1)
    largest = max(map(len, shards))
    if largest > most_rows:
        raise InputError(
            f"memory_bytes has room for {most_rows:,} rows and a shard holds {largest:,}, the least that is read; give more"
        )
    if not shuffle:
        return Order(groups=tuple(_packed(shards, most_rows)), described=AS_STORED)
    shuffled = [shards[index] for index in generator.permutation(len(shards))]
    groups = tuple(generator.permutation(group) for group in _packed(shuffled, most_rows))
    described = (
        f"not a uniform permutation: {len(shards):,} shards shuffled, and rows mixed within groups of at most {most_rows:,}, "
        "which memory_bytes has room for"
    )
    return Order(groups=groups, described=described)


def _packed(shards: list[Rows], most_rows: int) -> list[Rows]:
    """Neighbouring shards together, as long as they have room."""
    groups: list[list[Rows]] = [[]]
    room = most_rows
    for shard in shards:
        if len(shard) > room:
            groups.append([])
            room = most_rows
        groups[-1].append(shard)
        room -= len(shard)
    return [np.concatenate(group) for group in groups]
