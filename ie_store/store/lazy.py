"""A dataset as lazy xarray variables that read slabs directly."""

import os
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from ie_store.specs import Level, Slab
from ie_store.store.buffers import lend
from ie_store.store.layout import cell_grid, fill_number, numpy_dtype, state_array
from ie_store.store.ledger import LEVELS
from ie_store.store.reader import DatasetReader, open_reader
from ie_store.store.slabs import decoded, decoded_dtype

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "macro": ("layer", "position", "sequence", "hidden"),
    "micro": ("layer", "token", "hidden"),
    "micro_state": ("layer", "sequence", "position", "hidden"),
}


class LazyStates(BackendArray):
    """macro (layer, position, sequence, hidden) or micro (layer, token, hidden), read slab by slab when asked for."""

    def __init__(self, reader: DatasetReader, level: Level) -> None:
        layout = reader.layout
        self.reader, self.level = reader, level
        self.shape = (*cell_grid(layout, level), reader.num_rows(level), layout.hidden_size)
        self.dtype = decoded_dtype(layout.stored_dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """States at an outer index: each of ``key`` an integer, a slice or an array of integers."""
        *cells, rows = [_chosen(part, size) for part, size in zip(key[:-1], self.shape[:-1], strict=True)]
        shape = (*map(len, cells), len(rows), self.shape[-1])
        result = lend(shape, numpy_dtype(self.reader.layout.stored_dtype))
        for place in np.ndindex(*shape[:-2]):
            layer, *position = (int(cell[i]) for cell, i in zip(cells, place, strict=True))
            slab = Slab(level=self.level, layer=layer, position=position[0] if position else None)
            _read_chosen(self.reader, slab, rows, result[place])
        return _without_integers(decoded(result)[..., key[-1]], key[:-1])


class LazyJoin(BackendArray):
    """micro_state (layer, sequence, position, hidden): row ``token_id`` of micro for each sequence and position."""

    def __init__(self, reader: DatasetReader) -> None:
        layout = reader.layout
        self.reader = reader
        self.shape = (layout.num_layers, layout.num_sequences, layout.num_positions, layout.hidden_size)
        self.dtype = decoded_dtype(layout.stored_dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        layers, sequences, positions = (_chosen(part, size) for part, size in zip(key[:-1], self.shape[:-1], strict=True))
        tokens = self.reader.tokens[np.ix_(np.asarray(sequences), np.asarray(positions))]
        rows = np.searchsorted(self.reader.token_values, tokens)
        result = np.empty((len(layers), *rows.shape, self.shape[-1]), self.dtype)
        num_tokens = self.reader.num_rows("micro")
        table = np.empty((num_tokens, self.shape[-1]), numpy_dtype(self.reader.layout.stored_dtype))
        for place, layer in enumerate(layers):
            _read_chosen(self.reader, Slab(level="micro", layer=int(layer), position=None), range(num_tokens), table)
            np.take(decoded(table), rows, axis=0, out=result[place], mode="clip")
        return _without_integers(result[..., key[-1]], key[:-1])


def _chosen(part: Any, size: int) -> range | NDArray[np.int64]:
    """The indices that one part of a key stands for."""
    if isinstance(part, slice):
        return range(*part.indices(size))
    return np.atleast_1d(part).astype(np.int64)


def _without_integers(values: NDArray[Any], key: tuple[Any, ...]) -> NDArray[Any]:
    """Drop the axes that ``key`` chose with a single integer."""
    return values[tuple(0 if np.ndim(part) == 0 and not isinstance(part, slice) else slice(None) for part in key)]


def _read_chosen(reader: DatasetReader, slab: Slab, rows: range | NDArray[np.int64], out: NDArray[Any]) -> None:
    """Rows of a slab, in the order asked for; from each shard only the stretch that holds them. NaN where not stored."""
    if not reader.is_stored(slab):
        out[:] = fill_number(reader.layout.stored_dtype)
    elif isinstance(rows, range) and rows.step == 1:
        reader.read_rows(slab, rows.start, max(rows.start, rows.stop), out, strict=False)
    else:
        indices = np.asarray(rows)
        shards = indices // reader.layout.shard(slab.level, 0).size
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            low, high = int(indices[here].min()), int(indices[here].max())
            out[here] = reader.read_rows(slab, low, high + 1, strict=False)[indices[here] - low]


def lazy_dataset(path: str, micro_state: bool) -> xr.Dataset:
    """Dataset STORE/MODEL/CORPUS with its states lazy and everything else as plain Zarr gives it."""
    *store, model, corpus = (path.rstrip("/") if "://" in path else os.path.abspath(path)).rsplit("/", 2)
    reader = open_reader("/".join(store) or "/", f"{model}/{corpus}")
    dtype = reader.layout.stored_dtype
    states: dict[Level, str] = {level: state_array(level, dtype) for level in LEVELS}
    plain: xr.Dataset = xr.open_zarr(reader.address, chunks=None, consolidated=False, storage_options=reader.storage_options)
    attributes = {level: plain[name].attrs for level, name in states.items()}
    dataset: xr.Dataset = plain.drop_vars(list(states.values()))
    for level, described in attributes.items():
        dataset[level] = _variable(LazyStates(reader, level), level, described)
    if micro_state:
        described = {"long_name": "hidden state of each token fed to the model alone", "units": "1"}
        dataset["micro_state"] = _variable(LazyJoin(reader), "micro_state", described)
    return dataset


def _variable(array: LazyStates | LazyJoin, name: str, attributes: dict[str, Any]) -> xr.Variable:
    dimensions = DIMENSIONS[name]
    chunks = {d: 1 if d in ("layer", "position") else n for d, n in zip(dimensions, array.shape, strict=True)}
    kept = {key: value for key, value in attributes.items() if key != "encoding"}
    return xr.Variable(dimensions, indexing.LazilyIndexedArray(array), kept, {"preferred_chunks": chunks})
