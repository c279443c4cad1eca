"""Coordinates and tokens of a lazily opened dataset: of layers and positions only those that are stored."""

from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.indexes import PandasIndex

from ie_store.errors import REPAIR, StoreError
from ie_store.store.labels import LazySmall, label_variable, read_small, small_variable
from ie_store.store.layout import LONG_NAMES
from ie_store.store.reader import DatasetReader


def dataset_coordinates(store: str, reader: DatasetReader) -> xr.Coordinates:
    """layer, position, sequence, token, source_row and the source's labels.

    Raises:
        StoreError: an array is damaged.
    """
    layout, name = reader.layout, reader.name
    known = reader.token_values
    if known.shape != (layout.num_tokens,) or bool((np.diff(known) <= 0).any()):
        raise StoreError(
            f"{reader.address}/token is not {layout.num_tokens:,} rising token ids: the dataset is damaged; {REPAIR}"
        )
    indexes = {
        "layer": _index("layer", layout.layers, layout.num_layers),
        "position": _index("position", layout.positions, layout.num_positions),
        "sequence": PandasIndex(np.arange(layout.num_sequences), "sequence"),
        "token": PandasIndex(known, "token"),
    }
    variables: dict[str, xr.Variable] = {}
    for dimension, index in indexes.items():
        variables |= index.create_variables(
            {dimension: xr.Variable((dimension,), index.index, {"long_name": LONG_NAMES[dimension]})}
        )
    shape = (layout.num_sequences,)
    rows = LazySmall(shape, np.dtype(np.int64), partial(read_small, store, f"{name}/source_row", shape))
    variables["source_row"] = small_variable(("sequence",), rows, {"long_name": LONG_NAMES["source_row"]})
    for label in reader.attributes.labels:
        variables[label] = label_variable(store, name, label, layout.num_sequences)
    return xr.Coordinates(variables, indexes)


def token_variables(reader: DatasetReader) -> dict[str, xr.Variable]:
    """``token_id`` at the stored positions and, where these are not all, ``all_token_id`` (sequence, all_position)."""
    layout = reader.layout
    num_sequences, positions = layout.num_sequences, np.asarray(layout.positions)
    stored = LazySmall((num_sequences, len(positions)), np.dtype(np.int32), partial(_stored_tokens, reader))
    variables = {"token_id": small_variable(("sequence", "position"), stored, {"long_name": LONG_NAMES["token_id"]})}
    if len(positions) < layout.num_positions:
        every = LazySmall((num_sequences, layout.num_positions), np.dtype(np.int32), partial(checked_tokens, reader))
        described = {"long_name": "token id of each sequence at each position, stored or not"}
        variables["all_token_id"] = small_variable(("sequence", "all_position"), every, described)
    return variables


def checked_tokens(reader: DatasetReader) -> NDArray[np.int32]:
    """Token ids (sequence, position) at all positions; `StoreError` where they are damaged."""
    wanted = (reader.layout.num_sequences, reader.layout.num_positions)
    if reader.tokens.shape != wanted:
        raise StoreError(f"{reader.address}/token_id has shape {reader.tokens.shape}, the dataset needs {wanted}; {REPAIR}")
    return reader.tokens


def _stored_tokens(reader: DatasetReader) -> NDArray[np.int32]:
    tokens, positions = checked_tokens(reader), reader.layout.positions
    return tokens if len(positions) == tokens.shape[1] else tokens[:, list(positions)]


class _AlignsAsPlain(type):
    """Equal to `PandasIndex`: xarray aligns only indexes of one type, and anybody else's layers have the plain one."""

    def __eq__(cls, other: object) -> bool:
        return other is PandasIndex or other is cls

    def __hash__(cls) -> int:
        return hash(PandasIndex)


class StoredIndex(PandasIndex, metaclass=_AlignsAsPlain):
    """The labels of a dimension that is stored in part: choosing another is a `KeyError` that says which there are."""

    def sel(self, labels: dict[Any, Any], method: str | None = None, tolerance: Any = None) -> Any:
        """As `PandasIndex`."""
        try:
            return super().sel(labels, method=method, tolerance=tolerance)
        except KeyError as error:
            name, label = next(iter(labels.items()))
            raise KeyError(
                f"{name} {_brief(label)} is not stored; stored {name}s: {self.index.tolist()}, as chosen by --{name}s of "
                "'ie-store extract'"
            ) from error


def _index(dimension: str, stored: tuple[int, ...], size: int) -> PandasIndex:
    return (PandasIndex if len(stored) == size else StoredIndex)(np.asarray(stored), dimension)


def _brief(label: Any) -> str:
    values = np.asarray(getattr(label, "values", label))
    return str(values.tolist()) if values.size < 20 else "chosen"
