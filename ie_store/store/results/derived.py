"""A user's own variables of a dataset, into the same home as estimates: dimensions checked, lineage kept, written once."""

import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ie_store.errors import InputError
from ie_store.provenance import user_name
from ie_store.specs import digest
from ie_store.store.dataset.handle import Dataset
from ie_store.store.format.arrays import is_name_part
from ie_store.store.results.node_names import METHOD_NAMES
from ie_store.store.results.records import Record
from ie_store.store.results.writer import ResultGroup, open_results, sizes_of
from ie_store.variables import DIMENSIONS, Piece, Variable, coordinate

MOST_VALUES = 2**19
"""Of one record: with their numbers in text they stay below what is read of a document, 16 MiB."""
_STORED_AS = {"float16": "float32", "bool": "int8", "int16": "int64", "int32": "int64", "uint8": "int64", "uint16": "int64"}
"""Dtypes that results do not have, and those that hold all their values."""


def write_variables(
    dataset: Dataset, name: str, variables: Mapping[str, xr.DataArray], lineage: str, method: Mapping[str, Any]
) -> str:
    """Write ``variables`` as results called ``name``; see `ie_store.write_derived`. Returns the group's name, NAME-DIGEST."""
    _require_name(name)
    if not variables:
        raise InputError(f"{name} has no variables; give at least one, over some of: {', '.join(DIMENSIONS)}")
    if "name" in method:
        raise InputError("the method holds a field 'name', which is the name given; leave it out")
    group = open_results(dataset, {"name": name, **method})
    pieces = tuple(part for key, values in variables.items() for part in _pieces(dataset, str(key), values, lineage))
    with group.hold_run():
        _require_new(group, pieces)
        for some in _cut(pieces):
            item = f"values-{digest([(part.variable.name, part.index, part.values.tobytes().hex()) for part in some])[:16]}"
            group.commit(Record(item=item, session=_session(), flags={}, pieces=some))
        group.assemble()
    return group.key.rpartition("/")[2]


def _cut(pieces: tuple[Piece, ...]) -> Iterator[tuple[Piece, ...]]:
    """The pieces of each record: all in one, or each in as many as it takes for no record to be too large to be read."""
    if sum(part.values.size for part in pieces) <= MOST_VALUES:
        yield pieces
        return
    for part in sorted(pieces, key=lambda part: part.variable.name not in DIMENSIONS):  # values last: what they stand at is known
        yield from ((some,) for some in _halved(part))


def _halved(part: Piece) -> Iterator[Piece]:
    if part.values.size <= MOST_VALUES:
        yield part
        return
    axis = int(np.argmax(part.values.shape))
    half = part.values.shape[axis] // 2
    for here in (slice(0, half), slice(half, None)):
        index = (*part.index[:axis], part.index[axis][here], *part.index[axis + 1 :])
        values = np.ascontiguousarray(part.values[(slice(None),) * axis + (here,)])
        yield from _halved(Piece(variable=part.variable, index=index, values=values))


def _require_name(name: str) -> None:
    if name in METHOD_NAMES:
        raise InputError(f"{name} is the name of an estimator or a profile; give your variables another")
    if not is_name_part(name):
        raise InputError(f"name {name!r} cannot name results: use letters, digits, '.', '_' and '-'")


def _pieces(dataset: Dataset, name: str, values: xr.DataArray, lineage: str) -> Iterator[Piece]:
    """The piece of one variable, and those of the values of its dimensions that no dataset fixes."""
    if not is_name_part(name) or name in DIMENSIONS:
        raise InputError(
            f"variable {name!r} cannot name an array: use letters, digits, '.', '_' and '-', and no dimension's name"
        )
    if not isinstance(values, xr.DataArray):
        raise InputError(f"variable {name} is a {type(values).__name__}; give an xarray.DataArray, whose dimensions have names")
    sizes = sizes_of(dataset.layout)
    index = tuple(_indices(name, values, str(dimension), sizes) for dimension in values.dims)
    attributes = values.attrs
    variable = Variable(
        name=name,
        dimensions=tuple(map(str, values.dims)),
        long_name=str(attributes.get("long_name", name)),
        units=None if attributes.get("units") is None else str(attributes["units"]),
        dtype=_dtype(name, values.dtype),
        lineage=str(attributes.get("lineage", lineage)),
    )
    yield Piece(variable=variable, index=index, values=np.ascontiguousarray(values.values).astype(variable.dtype))
    for dimension in map(str, values.dims):
        if dimension not in sizes and dimension in values.coords:
            yield coordinate(dimension, _numbers(name, dimension, values[dimension].values).tolist())


def _indices(name: str, values: xr.DataArray, dimension: str, sizes: dict[str, int]) -> tuple[int, ...]:
    """Where along a dimension the values belong: what its coordinate says, or all of it."""
    if dimension not in DIMENSIONS:
        raise InputError(f"variable {name} is over {dimension!r}; results are over some of: {', '.join(DIMENSIONS)}")
    length, size = values.sizes[dimension], sizes.get(dimension)
    if size is None:
        return tuple(range(length))
    if dimension not in values.coords:
        if length != size:
            raise InputError(
                f"variable {name} has {length:,} values over {dimension} without a coordinate, and the dataset has {size:,}: "
                f"give it a coordinate {dimension} that says which they are"
            )
        return tuple(range(size))
    numbers = _numbers(name, dimension, values[dimension].values)
    if (
        numbers.dtype.kind not in "iu"
        or len(np.unique(numbers)) != length
        or (length and not 0 <= numbers.min() <= numbers.max() < size)
    ):
        raise InputError(f"variable {name}: its {dimension}s must be distinct whole numbers within 0..{size - 1}")
    return tuple(numbers.tolist())


def _numbers(name: str, dimension: str, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind not in "iuf" or values.ndim != 1:
        raise InputError(f"variable {name}: the coordinate {dimension} holds {values.dtype}; results have numbers there")
    return values


def _dtype(name: str, dtype: np.dtype[Any]) -> str:
    found = _STORED_AS.get(dtype.name, dtype.name)
    if found not in ("float64", "float32", "int64", "int8"):
        raise InputError(f"variable {name} holds {dtype}; results hold real numbers: float64, float32, int64 or int8")
    return found


def _require_new(group: ResultGroup, pieces: tuple[Piece, ...]) -> None:
    """Raise `InputError` where another variable, or other values, stand where some of the pieces would."""
    known = group.arrays
    for part in pieces:
        name = part.variable.name
        if name not in known:
            continue
        variable, array = known[name]
        if variable != part.variable:
            raise InputError(f"{group.key} holds another variable {name}, over {variable.dimensions}: {_OTHERWISE}")
        both = [np.flatnonzero(np.array(index) < size) for index, size in zip(part.index, array.shape, strict=True)]
        there = array[np.ix_(*(np.array(index)[some] for index, some in zip(part.index, both, strict=True)))]
        new = part.values[np.ix_(*both)]
        is_set = ~np.isnan(there) if there.dtype.kind == "f" else there != variable.fill
        if not np.array_equal(there[is_set], new[is_set], equal_nan=there.dtype.kind == "f"):
            raise InputError(f"{group.key}/{name} holds other values there, and results are written once: {_OTHERWISE}")


_OTHERWISE = "give the method another version, which makes results beside these"


def _session() -> dict[str, Any]:
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "user": user_name(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("ie-store", "numpy", "xarray")},
    }
