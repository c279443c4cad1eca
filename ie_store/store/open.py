"""The ways to read a store: a dataset or all of it lazily with xarray, or slab by slab."""

from typing import Any

import xarray as xr

from ie_store.errors import InputError
from ie_store.store.dataset.decoded import ShownDtype
from ie_store.store.dataset.reader import DatasetReader, open_reader
from ie_store.store.xarray_backend import IeStoreBackend
from ie_store.store.xarray_lazy import dataset_path, located

__all__ = ["DatasetReader", "open_lazily", "open_reader", "open_tree", "reader_of"]

VERIFIED = "ie_store_verified"
"""In the encoding of what is opened: whether states are compared with their checksums."""


def open_lazily(store: str, name: str, *, chunks: Any, dtype: ShownDtype, verify: bool) -> xr.Dataset:
    """Dataset ``name`` (MODEL/CORPUS), lazily, as `ie_store.open_store` gives it.

    Raises:
        StoreError: no such store or dataset, or damaged.
        InputError: ``name`` or ``dtype`` cannot be.
    """
    path = dataset_path(store, name)
    dataset = xr.open_dataset(path, engine=IeStoreBackend, chunks=chunks, micro_state=True, dtype=dtype, verify=verify)
    _prepare(dataset, path, verify)
    return dataset


def open_tree(store: str, *, chunks: Any, dtype: ShownDtype, verify: bool) -> xr.DataTree:
    """All datasets of a store and their results, lazily, as `ie_store.open_store` gives them.

    Raises:
        StoreError: not a store, or something in it is damaged.
        InputError: ``dtype`` cannot be.
    """
    tree = xr.open_datatree(store, engine=IeStoreBackend, chunks=chunks, micro_state=True, dtype=dtype, verify=verify)
    for node in tree.subtree:
        if "macro" in node.data_vars:
            _prepare(node, dataset_path(store, node.path.strip("/")), verify)
    return tree


def _prepare(opened: xr.Dataset | xr.DataTree, path: str, verify: bool) -> None:
    """Take coordinates into memory, since xarray groups by nothing that is a Dask array, and note where they come from."""
    for name in opened.coords:
        opened.variables[name].load()
    opened.encoding |= {"source": "/".join(located(path)), VERIFIED: verify}


def reader_of(dataset: xr.Dataset) -> DatasetReader:
    """The reader of what `open_lazily`, `open_tree` or the engine opened, or of a selection from it.

    Raises:
        InputError: xarray lost track of where it was opened from, or it is nothing of ours.
    """
    source = dataset.encoding.get("source")
    if not isinstance(source, str) or "macro" not in dataset.variables:
        raise InputError(
            "this dataset does not say which store it was opened from: open it with ie_store.open_store, and choose from it with "
            "sel, isel or drop_vars; where, merge and concat lose it"
        )
    return open_reader(*located(source), verify=dataset.encoding.get(VERIFIED, True))
