"""Rows in a file without a name: written once, then read where they are asked for. None of them counts as memory of the process.

The file lies in the folder for temporary files (``TMPDIR``) and is gone with the process, however that ends.
"""

import os
import tempfile
import weakref
from contextlib import ExitStack
from shutil import disk_usage
from threading import local
from typing import IO

import numpy as np
import torch
from torch import Tensor

from ie_store.errors import DiskSpaceError
from ie_store.estimate.device import host_rows


class DiskRows:
    """Rows (row, dimension) of one dtype on disk. Threads share it."""

    def __init__(self, num_rows: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
        """Take the room of ``num_rows`` on the disk; they are given out on ``device``.

        Raises:
            DiskSpaceError: the disk has not so much room.
        """
        self.width, self.dtype, self.device = width, dtype, device
        self._num_rows, self._row_bytes = num_rows, width * dtype.itemsize
        file = _new_file(num_rows * self._row_bytes)
        self._file, self._place = file.fileno(), local()
        weakref.finalize(self, file.close)

    def __len__(self) -> int:
        return self._num_rows

    def memory(self, start: int, stop: int) -> Tensor:
        """What rows ``start`` to ``stop`` - 1 can be put together in, until this thread asks again.

        It is the same memory every time: of new ones, small results that lie between would keep each from being used again.
        """
        known: Tensor | None = getattr(self._place, "rows", None)
        if known is None or len(known) < stop - start:
            known = self._place.rows = self._host_rows(stop - start)
        return known[: stop - start]

    def write(self, start: int, rows: Tensor) -> None:
        """Keep ``rows`` (row, dimension) from row ``start`` on."""
        left, offset = _bytes_of(rows.cpu().contiguous()), start * self._row_bytes
        while len(left):
            written = os.pwrite(self._file, left, offset)
            left, offset = left[written:], offset + written

    def tile(self, here: slice) -> Tensor:
        """The rows ``here``."""
        start, stop, _ = here.indices(self._num_rows)
        rows = self._host_rows(max(0, stop - start))
        self._read(_bytes_of(rows), start)
        return rows.to(self.device)

    def take(self, index: Tensor) -> Tensor:
        """Rows ``index`` (row,): each once, neighbours together, in the order in which they lie on the disk."""
        numbers, places = np.unique(index.cpu().numpy(), return_inverse=True)
        rows = self._host_rows(len(numbers))
        buffer, size = _bytes_of(rows), self._row_bytes
        edges = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
        starts = numbers[edges[:-1]].tolist() if len(numbers) else []
        for first, last, start in zip(edges, edges[1:], starts, strict=False):
            self._read(buffer[first * size : last * size], start)
        is_sorted = len(places) == len(numbers) and bool((np.diff(places) == 1).all())
        there = rows.to(self.device)
        return there if is_sorted else there[torch.from_numpy(places).to(self.device)]

    def _host_rows(self, num_rows: int) -> Tensor:
        return host_rows(num_rows, self.width, self.dtype, self.device)

    def _read(self, buffer: memoryview, start: int) -> None:
        """Fill ``buffer`` with rows from ``start`` on."""
        offset = start * self._row_bytes
        while len(buffer):
            count = os.preadv(self._file, [buffer], offset)
            if not count:
                raise OSError(f"the temporary file ends at byte {offset:,}")
            buffer, offset = buffer[count:], offset + count


def _bytes_of(rows: Tensor) -> memoryview:
    """The memory of contiguous ``rows``."""
    return rows.view(torch.uint8).numpy().reshape(-1).data


def _new_file(num_bytes: int) -> IO[bytes]:
    """A file of so many bytes that no folder lists."""
    folder = tempfile.gettempdir()
    with ExitStack() as opened:
        try:
            file: IO[bytes] = opened.enter_context(tempfile.TemporaryFile(buffering=0, prefix="ie-store-"))
            if num_bytes:
                os.posix_fallocate(file.fileno(), 0, num_bytes)
        except OSError as error:
            raise DiskSpaceError(
                f"{folder} has no room for {num_bytes:,} bytes of states ({error.strerror or error}; {disk_usage(folder).free:,} "
                "bytes are free); set TMPDIR to a folder on a disk that has, or give a larger --memory"
            ) from error
        opened.pop_all()
    return file
