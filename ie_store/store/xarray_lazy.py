"""A dataset as lazy xarray variables that read slabs directly. Only stored layers and positions are in it."""

import os
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from ie_store.errors import REPAIR, InputError, StoreError
from ie_store.specs import LEVELS, Level, Slab
from ie_store.store.dataset.buffers import acquire
from ie_store.store.dataset.decoded import Rows, ShownDtype, read_shown, shown_dtype
from ie_store.store.dataset.reader import DatasetReader, open_reader
from ie_store.store.files.open import open_storage
from ie_store.store.format.arrays import dataset_name, state_template
from ie_store.store.format.metadata import group_document, read_document
from ie_store.store.xarray_attributes import plain_attributes
from ie_store.store.xarray_coordinates import dataset_coordinates, token_variables

JOINED = ("layer", "sequence", "position", "hidden")
"""Dimensions of ``micro_state``."""


class LazyStates(BackendArray):
    """macro (layer, position, sequence, hidden) or micro (layer, token, hidden), read slab by slab when asked for."""

    def __init__(self, reader: DatasetReader, level: Level, dtype: np.dtype[Any]) -> None:
        self.reader, self.dtype, self._states = reader, dtype, reader.layout.level(level)
        self.shape = (*map(len, self._states.stored), self._states.num_rows, reader.layout.hidden_size)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """States at an outer index: each of ``key`` an integer, a slice or an array of integers."""
        *cells, rows, hidden = (_chosen(part, size) for part, size in zip(key, self.shape, strict=True))
        result = acquire((*map(len, cells), len(rows), len(hidden)), self.dtype)
        columns = key[-1] if isinstance(key[-1], slice) else np.asarray(hidden)
        for place in np.ndindex(*map(len, cells)):
            cell = tuple(stored[chosen[i]] for stored, chosen, i in zip(self._states.stored, cells, place, strict=True))
            read_shown(self.reader, self._states.slab(cell), rows, columns, result[place])
        return _without_integers(result, key)


class LazyJoin(BackendArray):
    """micro_state (layer, sequence, position, hidden): row ``token_id`` of micro for each sequence and position."""

    def __init__(self, reader: DatasetReader, dtype: np.dtype[Any]) -> None:
        layout = reader.layout
        self.reader, self.dtype = reader, dtype
        self.shape = (len(layout.layers), layout.num_sequences, len(layout.positions), layout.hidden_size)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        layers, sequences, positions, hidden = (_chosen(part, size) for part, size in zip(key, self.shape, strict=True))
        places = np.asarray(self.reader.layout.positions)[np.asarray(positions, int)]
        rows = _rows_of(self.reader, self.reader.tokens[np.ix_(np.asarray(sequences, int), places)])
        columns = key[-1] if isinstance(key[-1], slice) else np.asarray(hidden)
        result = acquire((len(layers), *rows.shape, len(hidden)), self.dtype)
        num_tokens = self.reader.num_rows("micro")
        table = acquire((num_tokens, len(hidden)), self.dtype)
        for place, layer in enumerate(layers):
            slab = Slab(level="micro", layer=self.reader.layout.layers[layer], position=None)
            read_shown(self.reader, slab, range(num_tokens), columns, table)
            np.take(table, rows, axis=0, out=result[place], mode="clip")
        return _without_integers(result, key)


def _rows_of(reader: DatasetReader, tokens: NDArray[np.int32]) -> NDArray[np.int64]:
    """The row of micro of each token; `StoreError` where one has none."""
    known = reader.token_values
    rows = np.searchsorted(known, tokens).clip(max=len(known) - 1)
    if not np.array_equal(known[rows], tokens):
        raise StoreError(f"{reader.address}/token_id holds tokens that are not in 'token': the dataset is damaged; {REPAIR}")
    return rows


def _chosen(part: Any, size: int) -> Rows:
    """The indices that one part of a key stands for."""
    if isinstance(part, slice):
        return range(*part.indices(size))
    return np.atleast_1d(part).astype(np.int64)


def _without_integers(values: NDArray[Any], key: tuple[Any, ...]) -> NDArray[Any]:
    """Drop the axes that ``key`` chose with a single integer."""
    return values[tuple(0 if np.ndim(part) == 0 and not isinstance(part, slice) else slice(None) for part in key)]


def lazy_dataset(path: str, micro_state: bool, dtype: ShownDtype = "float32", verify: bool = True) -> xr.Dataset:
    """Dataset STORE/MODEL/CORPUS, its states and small arrays read when asked for."""
    store, name = located(path)
    return dataset_of(_open(path, store, name, verify), micro_state, dtype)


def dataset_of(reader: DatasetReader, micro_state: bool, dtype: ShownDtype) -> xr.Dataset:
    """What ``reader`` reads, as lazy variables."""
    shown = shown_dtype(reader.layout.stored_dtype, dtype)
    variables: dict[str, xr.Variable] = {level: _state_variable(reader, level, shown) for level in LEVELS}
    variables |= token_variables(reader)
    if micro_state:
        described = {"long_name": "hidden state of each token fed to the model alone", "units": "1"}
        variables["micro_state"] = _variable(LazyJoin(reader, shown), JOINED, described)
    attributes: dict[str, Any] = group_document(reader.attributes)["attributes"]
    del attributes["coordinates"]  # for readers of the file: here coordinates are such already
    return xr.Dataset(variables, dataset_coordinates(reader), plain_attributes(attributes))


def dataset_path(store: str, name: str) -> str:
    """STORE/MODEL/CORPUS.

    Raises:
        InputError: ``name`` is not MODEL/CORPUS.
    """
    return f"{store.rstrip('/') or '/'}/{dataset_name(name)}"


def located(path: str) -> tuple[str, str]:
    """STORE and MODEL/CORPUS of a dataset's path."""
    parts = (path.rstrip("/") if "://" in path else os.path.abspath(path)).rsplit("/", 2)
    if len(parts) < 3:
        raise InputError(f"{path!r} cannot be the path of a dataset, STORE/MODEL/CORPUS")
    return parts[0] or "/", f"{parts[1]}/{parts[2]}"


def _open(path: str, store: str, name: str, verify: bool) -> DatasetReader:
    """The reader of a dataset; where ``path`` is another thing of a store's, the error says which."""
    try:
        return open_reader(store, name, verify)
    except (InputError, StoreError) as error:
        if mistaken := _mistaken(path):
            raise StoreError(mistaken) from error
        raise


def _mistaken(path: str) -> str | None:
    """Which other thing of a store ``path`` is, and what to give instead; None where it is nothing of ours."""
    found = _group_attributes(path)
    if found is not None and "identity" not in found and "estimator" not in found:
        return (
            f"{path} is a store or a model's group in one, not a dataset: give STORE/MODEL/CORPUS, or open the whole store with "
            "ie_store.open_store; 'ie-store ls STORE' lists the datasets of a store"
        )
    outer = path.rstrip("/")
    for _ in range(4):
        outer = outer.rpartition("/")[0]
        if "identity" in (_group_attributes(outer) or {}):
            return f"{path} lies in the dataset {outer}: give that path and choose from what it holds"
    return None


def _group_attributes(path: str) -> dict[str, Any] | None:
    """The attributes of a group of ours at ``path``; None where there is none."""
    try:
        attributes = (read_document(open_storage(path), "") or {}).get("attributes")
    except (InputError, StoreError):
        return None
    return attributes if isinstance(attributes, dict) and "ie_store_format" in attributes else None


def _state_variable(reader: DatasetReader, level: Level, dtype: np.dtype[Any]) -> xr.Variable:
    described = state_template(reader.layout, level).attributes
    dropped = {"encoding"} if dtype == np.float16 else {"encoding", "note"}
    kept = {key: value for key, value in described.items() if key not in dropped}
    return _variable(LazyStates(reader, level, dtype), reader.layout.level(level).dimensions, kept)


def _variable(array: LazyStates | LazyJoin, dimensions: tuple[str, ...], attributes: dict[str, Any]) -> xr.Variable:
    chunks = {d: 1 if d in ("layer", "position") else n for d, n in zip(dimensions, array.shape, strict=True)}
    return xr.Variable(dimensions, indexing.LazilyIndexedArray(array), attributes, {"preferred_chunks": chunks})
