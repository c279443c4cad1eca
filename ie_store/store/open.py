"""The ways to read a dataset: lazily with xarray, or slab by slab."""

from typing import Any

import xarray as xr

from ie_store.store.dataset.decoded import ShownDtype
from ie_store.store.dataset.reader import DatasetReader, open_reader
from ie_store.store.xarray_backend import IeStoreBackend

__all__ = ["DatasetReader", "open_reader", "open_store"]


def open_store(
    path: str,
    *,
    chunks: Any = {},  # noqa: B006  (never changed; {} is xarray's word for "the engine's own chunks")
    dtype: ShownDtype = "float32",
    verify: bool = True,
) -> xr.Dataset:
    """Open a dataset lazily: macro, micro, their coordinates, and micro joined to the sequences.

    ``layer`` and ``position`` hold what is stored and nothing else, so that every operation over them is over data:
    ``ds.macro.sel(layer=3)`` is a `KeyError` that says what is stored where layer 3 is not, and ``isel`` counts stored ones.

    Args:
        path: STORE/MODEL/CORPUS.
        chunks: as in `xarray.open_dataset`; by default one Dask chunk per slab. None reads without Dask.
        dtype: ``float32``, in which sums, means and squares of float16 states do not overflow, or ``stored``: as stored
            (bfloat16 still as float32, since numpy has none).
        verify: compare all states read with their checksums; a difference is a `StoreError`.

    Returns:
        ``macro`` (layer, position, sequence, hidden), ``micro`` (layer, token, hidden), ``token_id`` (sequence, position)
        and ``micro_state`` (layer, sequence, position, hidden) = ``micro.sel(token=token_id)``; where not all positions are
        stored also ``all_token_id`` (sequence, all_position). Labels of the source are texts or numbers (sequence,), in
        memory, for ``ds.label == "text"`` and ``groupby("label")``. NaN where nothing is written yet:
        ``attrs["complete"]`` is then False, with ``incomplete_reason``.

    Raises:
        StoreError: ``path`` is not a dataset, or damaged.
        InputError: ``dtype`` is not known.
    """
    dataset = xr.open_dataset(path, engine=IeStoreBackend, chunks=chunks, micro_state=True, dtype=dtype, verify=verify)
    for name in dataset.coords:  # xarray groups by nothing that is a Dask array
        dataset.variables[name].load()
    return dataset
