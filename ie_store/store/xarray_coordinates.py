"""Coordinates and tokens of a lazily opened dataset: of layers and positions only those that are stored."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.indexes import PandasIndex

from ie_store.errors import REPAIR, StoreError
from ie_store.store.dataset.reader import DatasetReader
from ie_store.store.format.arrays import LONG_NAMES, label_long_name


def dataset_coordinates(reader: DatasetReader) -> xr.Coordinates:
    """layer, position, sequence, token, source_row and the source's labels.

    Raises:
        StoreError: an array is damaged.
    """
    layout = reader.layout
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
    variables["source_row"] = _small(("sequence",), reader.source_row, LONG_NAMES["source_row"])
    for label, values in reader.labels.items():
        variables[label] = _small(("sequence",), values, label_long_name(label))
    return xr.Coordinates(variables, indexes)


def token_variables(reader: DatasetReader) -> dict[str, xr.Variable]:
    """``token_id`` at the stored positions and, where these are not all, ``all_token_id`` (sequence, all_position)."""
    tokens, positions = reader.tokens, list(reader.layout.positions)
    if len(positions) == reader.layout.num_positions:
        return {"token_id": _small(("sequence", "position"), tokens, LONG_NAMES["token_id"])}
    every = "token id of each sequence at each position, stored or not"
    return {
        "token_id": _small(("sequence", "position"), tokens[:, positions], LONG_NAMES["token_id"]),
        "all_token_id": _small(("sequence", "all_position"), tokens, every),
    }


def _small(dimensions: tuple[str, ...], values: NDArray[Any], long_name: str) -> xr.Variable:
    """A variable that Dask keeps in one chunk."""
    chunks = dict(zip(dimensions, values.shape, strict=True))
    return xr.Variable(dimensions, values, {"long_name": long_name}, {"preferred_chunks": chunks})


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
