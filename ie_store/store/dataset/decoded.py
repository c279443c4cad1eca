"""States in the dtype in which they are shown: read shard by shard, converted while each piece is still in the cache.

float16 ends at 65,504: sums, means and squares of real states overflow in it, so float32 is shown unless asked otherwise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ie_store.fields import require_choice
from ie_store.specs import Slab, StoredDtype
from ie_store.store.dataset.reader import DatasetReader
from ie_store.store.dataset.slab_read import decoded, decoded_dtype
from ie_store.store.dataset.threads import in_threads
from ie_store.store.format.arrays import numpy_dtype

ShownDtype = Literal["float32", "stored"]
Rows = range | NDArray[np.int64]


def shown_dtype(stored_dtype: StoredDtype, dtype: ShownDtype) -> np.dtype[Any]:
    """Dtype in which states are shown: float32, or what is stored (bfloat16 as float32, since numpy has none).

    Raises:
        InputError: ``dtype`` is neither ``float32`` nor ``stored``.
    """
    require_choice("dtype", dtype, ShownDtype)
    return np.dtype(np.float32) if dtype == "float32" else decoded_dtype(stored_dtype)


def read_shown(reader: DatasetReader, slab: Slab, rows: Rows, columns: slice | NDArray[np.int64], out: NDArray[Any]) -> None:
    """Fill ``out`` (row, hidden) with the chosen rows and columns of a slab, in its dtype; NaN where nothing is written yet."""
    layout = reader.layout
    all_columns = isinstance(columns, slice) and columns.indices(layout.hidden_size) == (0, layout.hidden_size, 1)
    if all_columns and out.dtype == numpy_dtype(layout.stored_dtype) and isinstance(rows, range) and rows.step == 1:
        reader.read_rows(slab, rows.start, max(rows.start, rows.stop), out, strict=False)
        return
    pieces = _pieces(rows, layout.level(slab.level).rows_per_shard)
    job = _Job(reader=reader, slab=slab, columns=columns, out=out)
    waiting = iter(pieces)  # shared: whoever is free takes the next
    shards = [piece.start // layout.level(slab.level).rows_per_shard for piece in pieces]
    in_threads(lambda: job.read(waiting), reader.num_threads(slab, shards))


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """Rows start..stop-1 of a slab, within one shard."""

    start: int
    stop: int
    chosen: Any
    """Those that are asked for, counted from ``start``."""
    places: Any
    """Where they go in the result."""


def _pieces(rows: Rows, size: int) -> list[_Piece]:
    """The stretches to read, one for each shard of ``size`` rows that holds rows asked for."""
    if isinstance(rows, range) and rows.step == 1:
        cuts = [max(rows.start, first) for first in range(rows.start // size * size, rows.stop, size)] if len(rows) else []
        ends = [min(start // size * size + size, rows.stop) for start in cuts]
        return [
            _Piece(start=start, stop=stop, chosen=slice(None), places=slice(start - rows.start, stop - rows.start))
            for start, stop in zip(cuts, ends, strict=True)
        ]
    indices = np.asarray(rows, dtype=np.int64)
    if not len(indices):
        return []
    order = np.argsort(indices // size, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(indices[order] // size)) + 1)
    return [_spread_piece(indices[places], places) for places in groups]


def _spread_piece(indices: NDArray[np.int64], places: NDArray[np.int64]) -> _Piece:
    start, stop = int(indices.min()), int(indices.max()) + 1
    return _Piece(start=start, stop=stop, chosen=indices - start, places=places)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One read. Threads share it."""

    reader: DatasetReader
    slab: Slab
    columns: slice | NDArray[np.int64]
    out: NDArray[Any]

    def read(self, waiting: Iterator[_Piece]) -> None:
        """Read and convert the pieces that ``waiting`` still has to give, through one buffer for all of them."""
        layout = self.reader.layout
        scratch = np.empty((0, layout.hidden_size), numpy_dtype(layout.stored_dtype))
        for piece in waiting:
            num_rows = piece.stop - piece.start
            if len(scratch) < num_rows:
                scratch = np.empty((num_rows, layout.hidden_size), scratch.dtype)
            stored = self.reader.read_rows(self.slab, piece.start, piece.stop, scratch[:num_rows], strict=False)
            self.out[piece.places] = decoded(stored[piece.chosen][:, self.columns])
