"""The ways to read a dataset: lazily with xarray, or slab by slab."""

from typing import Any

import xarray as xr

from ie_store.store.engine import IeStoreBackend
from ie_store.store.reader import DatasetReader, open_reader

__all__ = ["DatasetReader", "open_reader", "open_store"]


def open_store(path: str, *, chunks: Any = {}) -> xr.Dataset:  # noqa: B006  (never changed; {} is xarray's word for "the engine's own chunks")
    """Open a dataset lazily: macro, micro, their coordinates, and micro joined to the sequences.

    Args:
        path: STORE/MODEL/CORPUS.
        chunks: as in `xarray.open_dataset`; by default one Dask chunk per slab. None reads without Dask.

    Returns:
        ``macro`` (layer, position, sequence, hidden), ``micro`` (layer, token, hidden), ``token_id`` (sequence, position)
        and ``micro_state`` (layer, sequence, position, hidden) = ``micro.sel(token=token_id)``; bfloat16 as float32;
        NaN where nothing is stored. ``attrs["complete"]`` is False, with ``incomplete_reason``, while shards are missing.

    Raises:
        StoreError: ``path`` is not a dataset.
    """
    return xr.open_dataset(path, engine=IeStoreBackend, chunks=chunks, micro_state=True)
