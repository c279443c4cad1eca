"""Named variables that are derived from states: what each is, declared as data. Imports nothing of ours.

Everything computed from a dataset (mutual information, curves, spectra, a user's own) is a set of these over the dimensions
below. A part of one, as a piece of work yields it, is a `Piece`; arrays are put together from pieces.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIMENSIONS: dict[str, str] = {
    "block": "the step from layer block to layer block + 1",
    "layer": "0 enters block 0; l is the output of block l-1",
    "position": "index of a token in its sequence",
    "token_position": "index of a past token, at most position",
    "sequence": "row of the corpus, in lexicographic order of tokens",
    "sigma": "noise level in units of its scale",
    "label": "value of a label of the source",
    "rank": "place in a falling order",
    "scale": "k of a pair of neighbours, the k-th and the 2k-th nearest",
}
"""What a variable may be indexed by, and what the index means."""
DTYPES = ("float64", "float32", "int64", "int8")
NOT_KNOWN_CODE = -1
Flags = dict[str, tuple[str, ...]]
"""Sentences of the input checks by place: ``level/block/position``."""


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One array of results."""

    name: str
    dimensions: tuple[str, ...]
    long_name: str
    units: str | None = None
    """``nat``, ``s``, ``1``; None where a number has none."""
    dtype: str = "float64"
    lineage: str = ""
    """What it is computed from."""
    flag_meanings: tuple[str, ...] = ()
    """Of a variable of codes: the meaning of 0, 1, ...; -1 is where nothing is known."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES or not set(self.dimensions) <= DIMENSIONS.keys():
            raise ValueError(f"variable {self.name} has dtype {self.dtype} over {self.dimensions}; see ie_store.variables")

    @property
    def fill(self) -> float | int:
        """What stands where nothing is known."""
        return float("nan") if self.dtype.startswith("float") else NOT_KNOWN_CODE


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Values of a variable at some of its indices."""

    variable: Variable
    index: tuple[tuple[int, ...], ...]
    """Indices along each dimension; the piece holds every combination of them."""
    values: NDArray[Any]
    """Of the variable's dtype, as many along each dimension as ``index`` names."""

    def __post_init__(self) -> None:
        shape = tuple(map(len, self.index))
        if self.values.shape != shape or self.values.dtype != self.variable.dtype or len(shape) != len(self.variable.dimensions):
            raise ValueError(
                f"a piece of {self.variable.name} over {self.variable.dimensions} has {self.values.dtype} values of shape "
                f"{self.values.shape} for indices of {shape}"
            )


def piece(variable: Variable, index: tuple[tuple[int, ...], ...], values: Any) -> Piece:
    """A `Piece` from anything numpy makes an array of; None counts as unknown."""
    array = np.array(values, dtype=object)
    array[array == None] = variable.fill  # noqa: E711  (element by element)
    return Piece(variable=variable, index=index, values=array.astype(variable.dtype).reshape(tuple(map(len, index))))


WholeArrays = dict[str, tuple[Variable, NDArray[Any]]]
"""Variables with all their values, by name."""


def coordinate(dimension: str, values: Iterable[float]) -> Piece:
    """The values of a dimension, as a variable of its own name."""
    found = np.array(list(values))
    dtype = "float64" if found.dtype.kind == "f" else "int64"
    variable = Variable(name=dimension, dimensions=(dimension,), long_name=DIMENSIONS[dimension], dtype=dtype)
    return piece(variable, (tuple(range(len(found))),), found)


def assemble(pieces: list[Piece], sizes: dict[str, int]) -> WholeArrays:
    """Whole arrays from their pieces, later ones over earlier ones, by name.

    Args:
        pieces: of any variables; those of one name must be of one variable.
        sizes: length of the dimensions that the dataset fixes; others are as long as their pieces reach.

    Raises:
        ValueError: two variables of one name, or an index outside a dimension.
    """
    lengths = _lengths(pieces, sizes)
    made: WholeArrays = {}
    for part in pieces:
        variable = part.variable
        if variable.name not in made:
            shape = tuple(lengths[dimension] for dimension in variable.dimensions)
            made[variable.name] = variable, np.full(shape, variable.fill, dtype=variable.dtype)
        known, array = made[variable.name]
        if known != variable:
            raise ValueError(f"two variables are called {variable.name}: {known} and {variable}")
        array[np.ix_(*part.index)] = part.values
    return made


def _lengths(pieces: list[Piece], sizes: dict[str, int]) -> dict[str, int]:
    lengths = dict(sizes)
    for part in pieces:
        for dimension, index in zip(part.variable.dimensions, part.index, strict=True):
            reach = max(index, default=-1) + 1
            if min(index, default=0) < 0 or reach > sizes.get(dimension, reach):
                raise ValueError(f"{part.variable.name} has {dimension} {min(index)} to {reach - 1}, of {sizes.get(dimension)}")
            lengths[dimension] = max(lengths.get(dimension, 0), reach)
    return lengths
