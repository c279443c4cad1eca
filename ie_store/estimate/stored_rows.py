"""Rows of one width, in memory or on disk: given out by their numbers or a stretch at a time, the same values either way.

Whoever reads them holds no more than it asked for. Where new rows are kept, a `Room` decides: in memory while its bytes last,
else in a file that has no name (`disk_rows`).
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

import torch
from torch import Tensor

from ie_store.estimate.device import host_rows
from ie_store.estimate.disk_rows import DiskRows


class StoredRows(Protocol):
    """Rows (row, dimension) of a float dtype. What is given out lies on ``device``."""

    @property
    def width(self) -> int:
        """Dimensions."""

    @property
    def device(self) -> torch.device:
        """Where rows are given out."""

    def __len__(self) -> int: ...

    def take(self, index: Tensor) -> Tensor:
        """Rows ``index`` (row,), in that order."""

    def tile(self, here: slice) -> Tensor:
        """The rows ``here``; they may be the memory itself, so nobody writes to them."""


class NewRows(StoredRows, Protocol):
    """Rows that are being filled, each once, by any thread."""

    def memory(self, start: int, stop: int) -> Tensor:
        """(row, dimension) memory of the processor for rows ``start`` to ``stop`` - 1, to be filled and handed to `write`.

        A thread has one at a time.
        """

    def write(self, start: int, rows: Tensor) -> None:
        """Keep ``rows`` (row, dimension), of the dtype that was asked for, from row ``start`` on."""


@dataclass(frozen=True, weakref_slot=True, slots=True)
class HeldRows:
    """Rows in the memory of the device that computes."""

    tensor: Tensor
    """(row, dimension)"""

    @property
    def width(self) -> int:
        """Dimensions."""
        return self.tensor.shape[1]

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.tensor.device

    def __len__(self) -> int:
        return len(self.tensor)

    def take(self, index: Tensor) -> Tensor:
        """Rows ``index`` (row,)."""
        return self.tensor[index]

    def tile(self, here: slice) -> Tensor:
        """The rows ``here``, without a copy."""
        return self.tensor[here]

    def memory(self, start: int, stop: int) -> Tensor:
        """Where rows ``start`` to ``stop`` - 1 are kept, or what can be moved there."""
        part = self.tensor[start:stop]
        return part if part.device.type == "cpu" else host_rows(stop - start, self.width, part.dtype, part.device)

    def write(self, start: int, rows: Tensor) -> None:
        """Keep ``rows`` (row, dimension) from row ``start`` on."""
        part = self.tensor[start : start + len(rows)]
        if part.data_ptr() != rows.data_ptr():
            part.copy_(rows)


@dataclass(frozen=True)
class ChosenRows:
    """Some of other rows, in an order of their own, without a copy of them."""

    rows: StoredRows
    at: Tensor
    """(row,) their numbers there, on the device"""

    @property
    def width(self) -> int:
        """Dimensions."""
        return self.rows.width

    @property
    def device(self) -> torch.device:
        """Where they are given out."""
        return self.rows.device

    def __len__(self) -> int:
        return len(self.at)

    def take(self, index: Tensor) -> Tensor:
        """Rows ``index`` (row,)."""
        return self.rows.take(self.at[index])

    def tile(self, here: slice) -> Tensor:
        """The rows ``here``."""
        return self.rows.take(self.at[here])


class Room:
    """Bytes of memory for rows, and a folder for those beyond. Threads share it."""

    def __init__(
        self, device: torch.device, num_bytes: int | None = None, reading_bytes: int | None = None, lent_bytes: int = 0
    ) -> None:
        """``num_bytes`` at most on ``device``, and ``reading_bytes`` while they are read; None for as many as are asked for.

        Rows leave ``lent_bytes`` of them free, which are only lent.
        """
        self.device, self.reading_bytes = device, reading_bytes
        self._left, self._lock = num_bytes, Lock()
        self._to_lend = lent_bytes

    def make(self, num_rows: int, width: int, dtype: torch.dtype) -> NewRows:
        """New rows, in memory if they fit beside those that are there, else on disk.

        Raises:
            DiskSpaceError: neither has room.
        """
        num_bytes = num_rows * width * dtype.itemsize
        if not self._take(num_bytes):
            return DiskRows(num_rows, width, dtype, self.device)
        rows = HeldRows(torch.empty((num_rows, width), dtype=dtype, device=self.device))
        weakref.finalize(rows, self._give_back, num_bytes).atexit = False
        return rows

    @contextmanager
    def lend(self, num_bytes: int, most: int) -> Iterator[int]:
        """How many times ``num_bytes`` of the memory may be used for something else meanwhile, ``most`` at the most."""
        with self._lock:
            lent = most if self._left is None else min(most, self._left // num_bytes)
            self._lend(lent * num_bytes)
        try:
            yield lent
        finally:
            with self._lock:
                self._lend(-lent * num_bytes)

    def _lend(self, num_bytes: int) -> None:
        if self._left is not None:
            self._left -= num_bytes
            self._to_lend -= num_bytes  # below nothing where more is lent than was left free

    def _take(self, num_bytes: int) -> bool:
        with self._lock:
            if self._left is None:
                return True
            if num_bytes > self._left - max(0, self._to_lend):
                return False
            self._left -= num_bytes
            return True

    def _give_back(self, num_bytes: int) -> None:
        with self._lock:
            if self._left is not None:
                self._left += num_bytes


def as_rows(rows: Tensor | StoredRows) -> StoredRows:
    """Anyone's tensor (row, dimension) as rows; what is rows already stays."""
    return HeldRows(rows) if isinstance(rows, Tensor) else rows
