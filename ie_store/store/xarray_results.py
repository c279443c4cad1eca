"""A group of results as lazy xarray variables, each array found to be the one that was put together last."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from ie_store.errors import StoreError
from ie_store.specs import StoreLayout
from ie_store.store.dataset.handle import Dataset
from ie_store.store.format.array_document import ArrayDocument
from ie_store.store.format.metadata import group_document, read_document, require_array
from ie_store.store.results.group import REBUILD, read_result, read_results_group
from ie_store.store.xarray_attributes import plain_attributes


class LazyResult(BackendArray):
    """One array of a group of results, read whole when asked for."""

    def __init__(self, dataset: Dataset, group: str, array: str, found: ArrayDocument) -> None:
        self._dataset, self._group, self._array = dataset, group, array
        self.shape, self.dtype = found.shape, np.dtype(found.data_type)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        values = read_result(self._dataset, self._group, self._array)
        if values.shape != self.shape or values.dtype != self.dtype:
            where = self._dataset.address_of("estimates", self._group, self._array)
            raise StoreError(f"{where} had shape {self.shape} and has {values.shape} now: open the store again")
        chosen: NDArray[Any] = values[key]
        return chosen


def lazy_results(dataset: Dataset, group: str) -> xr.Dataset | None:
    """Group METHOD-DIGEST of a dataset's results; None where there is none.

    Returns:
        Its variables over (block, layer, position, ...), always the whole extent: NaN, or -1 in codes, where nothing is known.
        Those of mutual information are in nats. Dimensions have their coordinates, in memory.

    Raises:
        StoreError: damaged, or changed by another program.
        IdentityError: computed from other states than the dataset's.
    """
    attributes = read_results_group(dataset, group)
    if attributes is None:
        return None
    variables = {array: _variable(dataset, group, array) for array in sorted(attributes.checksums)}
    coordinates = {name: variable.load() for name, variable in variables.items() if variable.dims == (name,)}
    found = group_document(attributes)["attributes"]
    data = {name: variable for name, variable in variables.items() if name not in coordinates}
    return xr.Dataset(data, coordinates, plain_attributes(found))


def _variable(dataset: Dataset, group: str, array: str) -> xr.Variable:
    key = dataset.key("estimates", group, array)
    found = require_array(dataset.files, key)
    if found.dimensions is None or None in found.dimensions:
        raise StoreError(f"{dataset.files.address(key)}/zarr.json does not name its dimensions; {REBUILD}")
    described = (read_document(dataset.files, key) or {}).get("attributes")
    lazy = LazyResult(dataset, group, array, found)
    chunks = dict(zip(found.dimensions, found.shape, strict=True))
    attributes = described if isinstance(described, dict) else {}
    return xr.Variable(found.dimensions, indexing.LazilyIndexedArray(lazy), attributes, {"preferred_chunks": chunks})


def at_stored(results: xr.Dataset, layout: StoreLayout) -> xr.Dataset:
    """Results at the layers and positions whose states are stored: what fits below a dataset in a tree."""
    stored = {"layer": layout.layers, "position": layout.positions}
    return results.isel({dimension: list(chosen) for dimension, chosen in stored.items() if dimension in results.dims})
