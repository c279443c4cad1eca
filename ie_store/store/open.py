"""The ways to read a store: a dataset or all of it lazily with xarray, or slab by slab."""

from typing import Any

import xarray as xr

from ie_store.store.dataset.decoded import ShownDtype
from ie_store.store.dataset.reader import DatasetReader, open_reader
from ie_store.store.xarray_backend import IeStoreBackend
from ie_store.store.xarray_lazy import dataset_path

__all__ = ["DatasetReader", "open_lazily", "open_reader", "open_tree"]


def open_lazily(store: str, name: str, *, chunks: Any, dtype: ShownDtype, verify: bool) -> xr.Dataset:
    """Dataset ``name`` (MODEL/CORPUS), lazily, as `ie_store.open_store` gives it.

    Raises:
        StoreError: no such store or dataset, or damaged.
        InputError: ``name`` or ``dtype`` cannot be.
    """
    path = dataset_path(store, name)
    dataset = xr.open_dataset(path, engine=IeStoreBackend, chunks=chunks, micro_state=True, dtype=dtype, verify=verify)
    _load_coordinates(dataset)
    return dataset


def open_tree(store: str, *, chunks: Any, dtype: ShownDtype, verify: bool) -> xr.DataTree:
    """All datasets of a store and their results, lazily, as `ie_store.open_store` gives them.

    Raises:
        StoreError: not a store, or something in it is damaged.
        InputError: ``dtype`` cannot be.
    """
    tree = xr.open_datatree(store, engine=IeStoreBackend, chunks=chunks, micro_state=True, dtype=dtype, verify=verify)
    for node in tree.subtree:
        _load_coordinates(node)
    return tree


def _load_coordinates(opened: xr.Dataset | xr.DataTree) -> None:
    """Take coordinates into memory: xarray groups by nothing that is a Dask array."""
    for name in opened.coords:
        opened.variables[name].load()
