"""The ``zarr.json`` of an array as typed values: all that our readers use of it, and nothing else. No input or output.

Other programs rewrite these documents when somebody adds an attribute; what they may write otherwise (attributes,
a codec's configuration left out) is read alike.
"""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ie_store.store.format.typed_json import Malformed, parse

DataType = Literal[
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"
]
MOST_DIMENSIONS = 8
MOST_VALUES = 2**53
"""Values of one array: beyond this no file system goes, and products stay exact."""


@dataclass(frozen=True, kw_only=True)
class Codec:
    """One step of an encoding."""

    name: str
    configuration: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Named:
    name: str
    configuration: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Document:
    zarr_format: Literal[3]
    node_type: Literal["array"]
    shape: tuple[int, ...]
    data_type: DataType
    chunk_grid: _Named
    chunk_key_encoding: _Named
    codecs: tuple[dict[str, Any], ...]
    fill_value: Any
    dimension_names: tuple[str | None, ...] | None


@dataclass(frozen=True, kw_only=True)
class ArrayDocument:
    """What an array's document says of its values and of the files that hold them."""

    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    """Of one file."""
    data_type: DataType
    fill_value: Any
    dimensions: tuple[str | None, ...] | None
    codecs: tuple[Codec, ...]
    inner_shape: tuple[int, ...] | None
    """Inner chunks of a sharded array."""
    inner_codecs: tuple[Codec, ...]

    @property
    def is_plain(self) -> bool:
        """True where a file is little-endian bytes and their crc32c."""
        return [codec.name for codec in self.codecs] == ["bytes", "crc32c"] and is_little(self.codecs[0])


def is_little(codec: Codec) -> bool:
    """True where a ``bytes`` codec is little-endian."""
    return bool(codec.configuration.get("endian", "little") == "little")


def parse_array(document: dict[str, Any]) -> ArrayDocument:
    """The document of an array.

    Raises:
        Malformed: a field is missing or is not what it should be, says which.
    """
    names = [item.name for item in fields(_Document)]
    found = parse(_Document, {"dimension_names": None} | {name: document[name] for name in names if name in document})
    _require(found.chunk_grid.name == "regular", "chunk_grid.name", found.chunk_grid.name, "'regular'")
    encoding = (found.chunk_key_encoding.name, found.chunk_key_encoding.configuration.get("separator", "/"))
    _require(encoding == ("default", "/"), "chunk_key_encoding", encoding, "'default' with '/'")
    _require_shape(found.shape, "shape")
    chunk_shape = _chunk_shape(found.chunk_grid.configuration, "chunk_grid", len(found.shape))
    codecs = tuple(_codec(item, f"codecs[{i}]") for i, item in enumerate(found.codecs))
    is_sharded = [codec.name for codec in codecs] == ["sharding_indexed"]
    inner_shape, inner_codecs = _inner(codecs[0].configuration, len(found.shape)) if is_sharded else (None, ())
    return ArrayDocument(
        shape=found.shape, chunk_shape=chunk_shape, data_type=found.data_type, fill_value=found.fill_value,
        dimensions=found.dimension_names, codecs=codecs, inner_shape=inner_shape, inner_codecs=inner_codecs,
    )  # fmt: skip


def _inner(configuration: dict[str, Any], num_dimensions: int) -> tuple[tuple[int, ...], tuple[Codec, ...]]:
    inner = parse(tuple[dict[str, Any], ...], configuration.get("codecs"), "codecs[0].configuration.codecs")
    location = configuration.get("index_location", "end")
    _require(location == "end", "codecs[0].configuration.index_location", location, "'end'")
    return (
        _chunk_shape(configuration, "codecs[0]", num_dimensions),
        tuple(_codec(item, f"codecs[0].configuration.codecs[{i}]") for i, item in enumerate(inner)),
    )


def _codec(item: dict[str, Any], path: str) -> Codec:
    known = {name: item[name] for name in ("name", "configuration") if name in item}
    parsed: Codec = parse(Codec, {"configuration": {}} | known, path)
    return parsed


def _chunk_shape(configuration: dict[str, Any], path: str, num_dimensions: int) -> tuple[int, ...]:
    path = f"{path}.configuration.chunk_shape"
    shape: tuple[int, ...] = parse(tuple[int, ...], configuration.get("chunk_shape"), path)
    _require(len(shape) == num_dimensions, path, shape, f"a list of {num_dimensions}")
    _require_shape(shape, path)
    return shape


def _require_shape(shape: tuple[int, ...], path: str) -> None:
    _require(1 <= len(shape) <= MOST_DIMENSIONS, path, shape, f"one to {MOST_DIMENSIONS} dimensions")
    values = 1
    for size in shape:
        _require(size >= 0, path, shape, "sizes of at least 0")
        values *= max(1, size)
        _require(values <= MOST_VALUES, path, shape, f"at most {MOST_VALUES:,} values")


def _require(fits: bool, path: str, found: Any, expected: str) -> None:
    if not fits:
        raise Malformed(path, found, expected)
