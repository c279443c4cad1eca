"""The small arrays of a dataset as xarray variables: read and checked when asked for, labels as the texts they stand for."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from ie_store.errors import REPAIR, StoreError
from ie_store.store.files import open_files
from ie_store.store.layout import CODES_SUFFIX, MAX_CATEGORIES, is_label_name, label_long_name
from ie_store.store.metadata import read_document
from ie_store.store.plain import read_plain

LONGEST_FIXED = 128
"""Characters of a text up to which numpy keeps texts of one width, which Dask can cut; longer ones are Python objects."""
_OF_CODES = ("categories", "flag_values", "flag_meanings")


class LazySmall(BackendArray):
    """A small array of known shape and dtype, read whole when any of it is asked for."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], read: Callable[[], NDArray[Any]]) -> None:
        self.shape, self.dtype, self._read_all = shape, dtype, read

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        values = self._read_all()
        for axis in reversed(range(len(self.shape))):  # the last first: an integer drops its axis
            values = values[(*[slice(None)] * axis, key[axis])]
        return values


def read_small(store: str, key: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """All values of a small array that must have ``shape``.

    Raises:
        StoreError: missing, damaged, or of another shape.
    """
    files = open_files(store)
    values = read_plain(files, key)
    if values.shape != shape:
        raise StoreError(f"{files.address(key)} has shape {values.shape}, the dataset needs {shape}; {REPAIR}")
    return values


def small_variable(dimensions: tuple[str, ...], values: NDArray[Any] | LazySmall, attributes: dict[str, Any]) -> xr.Variable:
    """A variable that Dask keeps in one chunk."""
    data: Any = indexing.LazilyIndexedArray(values) if isinstance(values, LazySmall) else values
    chunks = dict(zip(dimensions, values.shape, strict=True))
    return xr.Variable(dimensions, data, attributes, {"preferred_chunks": chunks})


def label_variable(store: str, name: str, label: str, num_sequences: int) -> xr.Variable:
    """Label ``label`` of dataset ``name``: texts where the file keeps codes, numbers as they are.

    Raises:
        StoreError: its metadata are damaged; its values are looked at when they are read.
    """
    files, key, shape = open_files(store), f"{name}/{label}", (num_sequences,)
    if not is_label_name(label):
        raise StoreError(f"{files.address(name)}/zarr.json names a label {label!r}, which cannot be one; {REPAIR}")
    document = read_document(files, key)
    if document is None:
        raise StoreError(f"{files.address(key)} has no zarr.json: the dataset is damaged; {REPAIR}")
    attributes, dtype = document.get("attributes"), _dtype(document.get("data_type"))
    if not isinstance(attributes, dict) or not isinstance(attributes.get("long_name"), str) or dtype is None:
        raise StoreError(f"{files.address(key)}/zarr.json does not say what the label is: it was changed or is damaged; {REPAIR}")
    if not (attributes["long_name"].endswith(CODES_SUFFIX) or any(field in attributes for field in _OF_CODES)):
        numbers = LazySmall(shape, dtype, partial(read_small, store, key, shape))
        return small_variable(("sequence",), numbers, attributes)
    categories = _categories(attributes.get("categories"), files.address(key))
    texts = LazySmall(shape, categories.dtype, partial(_read_texts, store, key, shape, categories))
    return small_variable(("sequence",), texts, {"long_name": label_long_name(label)})


def _dtype(data_type: Any) -> np.dtype[Any] | None:
    """A label's dtype in memory; None where ``data_type`` is not that of a number."""
    try:
        dtype = np.dtype(data_type) if isinstance(data_type, str) else None
    except TypeError:
        return None
    return dtype if dtype is not None and dtype.kind in "iufb" else None


def _categories(found: Any, where: str) -> NDArray[Any]:
    fits = isinstance(found, list) and len(found) <= MAX_CATEGORIES and all(isinstance(text, str) for text in found)
    if not fits or len(set(found)) != len(found):
        raise StoreError(
            f"{where}/zarr.json: the attribute 'categories' of this label is not a list of different texts, so its codes mean "
            f"nothing; {REPAIR}"
        )
    longest = max(map(len, found), default=1)
    return np.array(found, dtype=f"U{max(longest, 1)}" if longest <= LONGEST_FIXED else object)


def _read_texts(store: str, key: str, shape: tuple[int, ...], categories: NDArray[Any]) -> NDArray[Any]:
    """The text of each sequence."""
    codes, where = read_small(store, key, shape), open_files(store).address(key)
    if codes.dtype.kind not in "iu":
        raise StoreError(f"{where} holds {codes.dtype} in the place of codes of categories; {REPAIR}")
    wrong = np.flatnonzero((codes < 0) | (codes >= len(categories)))
    if len(wrong):
        row = int(wrong[0])
        raise StoreError(
            f"{where}: code {int(codes[row])} at sequence {row} (and {len(wrong) - 1:,} more) is none of its "
            f"{len(categories):,} categories; {REPAIR}"
        )
    texts: NDArray[Any] = categories[codes]
    return texts
