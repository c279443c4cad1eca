"""Slabs in the order of the plan: read lazily through Dask, one item ahead, each once for all items that touch it."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import NonFiniteError, StoreError
from ie_store.estimate.exact.entropies import row_classes
from ie_store.estimate.plan import WorkItem
from ie_store.specs import Slab
from ie_store.store.open import DatasetReader, open_reader


@dataclass(frozen=True, kw_only=True)
class SlabStates:
    """A slab in memory."""

    rows: NDArray[Any]
    """(row, hidden) stored dtype; bfloat16 as float32"""
    classes: NDArray[np.int64]
    """(row,) equal for rows that are equal byte by byte"""


def open_complete(store: str, name: str) -> DatasetReader:
    """The reader of a dataset that holds all its states.

    Raises:
        StoreError: no such dataset, incomplete or damaged.
    """
    reader = open_reader(store, name)
    if not reader.complete:
        raise StoreError(
            f"{reader.address} is incomplete: {reader.attributes.incomplete_reason}; "
            "run the same extract command again: it goes on where it stopped"
        )
    return reader


def read_states(reader: DatasetReader, slab: Slab) -> SlabStates:
    """Read one slab, and find its equal rows.

    Raises:
        StoreError, NonFiniteError: as `read_rows`.
    """
    rows = read_rows(reader, slab)
    return SlabStates(rows=rows, classes=row_classes(rows))


def read_rows(reader: DatasetReader, slab: Slab) -> NDArray[Any]:
    """Read one slab (row, hidden), stored dtype; bfloat16 as float32.

    Raises:
        StoreError: not stored, missing or damaged.
        NonFiniteError: NaN or Inf in it.
    """
    rows: NDArray[Any] = np.asarray(reader.slab_array(slab))
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise NonFiniteError(
            f"{reader.address}: the states of {slab} have NaN or Inf in {len(bad):,} of {len(rows):,} rows, the "
            f"first is row {bad[0]}; run 'ie-store verify', then extract again (with --dtype float32 if float16 overflowed)"
        )
    return rows


def stream_states(reader: DatasetReader, items: Sequence[WorkItem]) -> Iterator[tuple[WorkItem, dict[Slab, SlabStates]]]:
    """Every item with its slabs; while one is worked on, the next one's slabs are read.

    At most the slabs of two neighbouring items are in memory. A slab that both use is read once.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="slabs") as pool:
        known: dict[Slab, Future[SlabStates]] = {}
        for number, item in enumerate(items):
            wanted = items[number + 1].slabs if number + 1 < len(items) else ()
            for slab in (*item.slabs, *wanted):
                if slab not in known:
                    known[slab] = pool.submit(read_states, reader, slab)
            yield item, {slab: known[slab].result() for slab in item.slabs}
            known = {slab: known[slab] for slab in wanted}
