"""Metadata documents: every ``zarr.json`` is read and written here, whole or not at all, and parsed into typed values."""

import json
from dataclasses import asdict
from math import isfinite, prod
from typing import Any, NoReturn, TypeVar

from ie_store.errors import REPAIR, InputError, StoreError
from ie_store.grid import ceil_div
from ie_store.specs import LEVELS, StoreLayout, digest
from ie_store.store.files.protocol import Storage
from ie_store.store.format.array_document import ArrayDocument, parse_array
from ie_store.store.format.arrays import ROWS_PER_CHUNK
from ie_store.store.format.attributes import (
    FORMAT,
    Attributes,
    DatasetAttributes,
    GroupAttributes,
    LedgerAttributes,
    ResultsAttributes,
)
from ie_store.store.format.typed_json import Malformed, encode_bytes, parse

A = TypeVar("A", bound=Attributes)
D = TypeVar("D")
_EXTRACT_ANEW = "restore the file, or remove the dataset with 'ie-store rm' and extract it again"
_MENDS: dict[type, str] = {
    GroupAttributes: "restore the file from a backup, or from another store: it says the same in each",
    DatasetAttributes: _EXTRACT_ANEW,
    LedgerAttributes: _EXTRACT_ANEW,
    ResultsAttributes: "remove that file and run the same estimate command again: it makes what is missing",
}
"""What to do about the changed ``zarr.json`` of a group: no repair of states makes it again."""
MOST_CELLS = 2**22
"""Layers times positions: what one shard's index can hold."""
FEW_TOKENS, FEW_SHARDS = 2**20, 2**10
"""So many cost nothing: where files do not agree with them, `verify` says so, with all else that it finds."""


def read_document(files: Storage, key: str) -> dict[str, Any] | None:
    """The ``zarr.json`` of the group or array ``key``, unparsed; None where there is none.

    Raises:
        StoreError: it is not a JSON object, or one that names a field twice or holds a number that is none.
    """
    path = f"{key}/zarr.json" if key else "zarr.json"
    raw = files.read(path)
    if raw is None:
        return None
    return _parse_object(raw, files.address(path), "restore it, or remove the group")


def _parse_object(raw: bytes, where: str, fix: str) -> dict[str, Any]:
    try:
        document = json.loads(raw, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_without_duplicates)
        if not isinstance(document, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{where} is not a JSON object ({error}); {fix}") from error
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    return value if isfinite(value) else _refuse_constant(text[:40])


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)[:40]!r} stands twice in one object")
    return found


def write_document(files: Storage, key: str, document: dict[str, Any], scratch: str | None = None) -> None:
    """Write the ``zarr.json`` of ``key``, passing through folder ``scratch`` where given."""
    path = f"{key}/zarr.json" if key else "zarr.json"
    files.write_atomic(path, [json.dumps(document, indent=2, allow_nan=False).encode()], scratch=scratch)


def read_array(files: Storage, key: str) -> ArrayDocument | None:
    """The document of the array ``key``; None where there is none.

    Raises:
        StoreError: it is not the document of a Zarr v3 array.
    """
    document = read_document(files, key)
    if document is None:
        return None
    try:
        return parse_array(document)
    except (Malformed, RecursionError) as error:
        raise StoreError(f"{files.address(key)}/zarr.json does not fit the format of an array: {error}; {REPAIR}") from error


def require_array(files: Storage, key: str) -> ArrayDocument:
    """The document of the array ``key``.

    Raises:
        StoreError: there is none, or it is not the document of a Zarr v3 array.
    """
    found = read_array(files, key)
    if found is None:
        raise StoreError(f"{files.address(key)} has no zarr.json: the dataset is damaged; {REPAIR}")
    return found


def group_document(attributes: Attributes) -> dict[str, Any]:
    """The ``zarr.json`` of a group of ours, sealed with the digest of its attributes."""
    return {"zarr_format": 3, "node_type": "group", "attributes": with_digest(attributes)}


def with_digest(model: Any) -> dict[str, Any]:
    """The JSON values of a dataclass, bytes in base64, and the SHA-256 of their canonical JSON as ``digest``."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(model), allow_nan=False, default=encode_bytes))
    return values | {"digest": digest(values)}


def parse_digested(kind: type[D], raw: bytes, where: str, fix: str) -> D:
    """A value of dataclass ``kind`` from the JSON of `with_digest`.

    Raises:
        StoreError: damaged or changed.
    """
    values = _parse_object(raw, where, fix)
    return _parsed(kind, {name: value for name, value in values.items() if name != "digest"}, values.get("digest"), where, fix)


def write_group(files: Storage, key: str, attributes: Attributes, scratch: str | None = None) -> None:
    """Write the ``zarr.json`` of a group of ours."""
    write_document(files, key, group_document(attributes), scratch)


def read_group(files: Storage, key: str, kind: type[A]) -> A | None:
    """The attributes of a group of ours; None where there is no such group.

    Raises:
        StoreError: another program's group, another format version, or attributes that were changed or are damaged.
    """
    document = read_document(files, key)
    return None if document is None else _group_attributes(document, files.address(key), kind)


def _group_attributes(document: dict[str, Any], address: str, kind: type[A]) -> A:
    where, attributes = f"{address}/zarr.json", document.get("attributes")
    if document.get("node_type") != "group" or document.get("zarr_format") != 3 or not isinstance(attributes, dict):
        raise StoreError(f"{where} is not the document of a Zarr v3 group; restore it, or remove the folder")
    names = kind.__dataclass_fields__
    if "ie_store_format" in names:
        require_format(attributes, address)
    values = {name: attributes[name] for name in names if name in attributes}
    return _parsed(kind, values, attributes.get("digest"), where, _MENDS[kind])


def _parsed(kind: type[D], values: dict[str, Any], stored_digest: Any, where: str, fix: str) -> D:
    try:
        parsed: D = parse(kind, values)
    except (Malformed, RecursionError) as error:
        raise StoreError(f"{where} is damaged: {error}; {fix}") from error
    if digest(values) != stored_digest:
        raise StoreError(f"{where} was changed: its attributes do not have the digest that they carry; {fix}")
    return parsed


def require_format(attributes: dict[str, Any], where: str) -> None:
    """Raise `StoreError` unless a group's attributes are ours and of a version that we know."""
    found = attributes.get("ie_store_format")
    if found is None:
        raise StoreError(f"{where} is a Zarr group of another program; give a store that 'ie-store extract' wrote")
    if found != FORMAT or isinstance(found, bool):
        raise StoreError(
            f"{where} has format version {found!r}; this ie-store reads version {FORMAT}: install the one that wrote it"
        )


def require_store(files: Storage) -> None:
    """Raise `StoreError` unless the root is a store that this version can read."""
    if read_group(files, "", GroupAttributes) is None:
        raise StoreError(f"{files.address()} is not a store: it has no zarr.json; give the folder that 'ie-store extract' wrote")


def read_dataset(files: Storage, name: str) -> DatasetAttributes | None:
    """The attributes of dataset ``name``; None where there is none, or its creation was cut off.

    Raises:
        StoreError: the group is not ours, not a dataset, or damaged.
    """
    document = read_document(files, name)
    if document is None:
        return None
    attributes = document.get("attributes")
    if isinstance(attributes, dict) and set(attributes) - {"digest"} == set(GroupAttributes.__dataclass_fields__):
        raise StoreError(
            f"{files.address(name)} is a group of the store, not a dataset; 'ie-store ls {files.root}' lists the datasets"
        )
    return _group_attributes(document, files.address(name), DatasetAttributes)


def require_dataset(files: Storage, name: str) -> DatasetAttributes:
    """The attributes of dataset ``name``.

    Raises:
        StoreError: no such store or dataset, or damaged.
    """
    require_store(files)
    found = read_dataset(files, name)
    if found is None:
        raise StoreError(f"{files.address(name)} is not a dataset; 'ie-store ls {files.root}' lists the datasets of this store")
    require_declared(files, name, found)
    return found


def require_declared(files: Storage, name: str, attributes: DatasetAttributes) -> None:
    """Raise `StoreError` where a dataset declares more than its files explain, before time or memory is spent on it."""
    layout = attributes.identity.layout
    _require_counts(layout, attributes.identity.model.num_blocks, files.address(name))
    num_shards = sum(layout.level(level).num_shards for level in LEVELS)
    if layout.num_sequences * layout.num_positions <= FEW_TOKENS and num_shards <= FEW_SHARDS:
        return
    key, wanted = f"{name}/token_id", (layout.num_sequences, layout.num_positions)
    found, rows = require_array(files, key), min(layout.num_sequences, ROWS_PER_CHUNK)
    if (found.shape, found.data_type, found.chunk_shape) != (wanted, "int32", (rows, layout.num_positions)) or not found.is_plain:
        raise StoreError(f"{files.address(key)}/zarr.json does not fit the dataset's identity: {wanted} is expected; {REPAIR}")
    wanted_bytes = 4 * rows * layout.num_positions + 4
    for index in range(ceil_div(layout.num_sequences, rows)):
        size = files.size(f"{key}/c/{index}/0")
        if size != wanted_bytes:
            raise StoreError(f"{files.address(key)}/c/{index}/0 has {size or 0:,} bytes, {wanted_bytes:,} are expected; {REPAIR}")


def require_readable(attributes: DatasetAttributes, address: str) -> None:
    """Raise `InputError` where no reader would accept what is about to be written."""
    try:
        _group_attributes(group_document(attributes), address, DatasetAttributes)
        _require_counts(attributes.identity.layout, attributes.identity.model.num_blocks, address)
    except StoreError as error:
        fault = str(error).rpartition("; ")[0]  # what would mend a dataset that is there mends nothing here
        raise InputError(
            f"the dataset could not be read again once it is written ({fault}); give a shorter recipe, fewer positions or layers"
        ) from error


def _require_counts(layout: StoreLayout, num_blocks: int, where: str) -> None:
    most_tokens, cells = layout.num_sequences * layout.num_positions, prod(layout.level("macro").grid)
    if layout.num_tokens > most_tokens:
        raise StoreError(f"{where} declares {layout.num_tokens:,} distinct tokens in {most_tokens:,}; {REPAIR}")
    if layout.num_layers != num_blocks + 1 or cells > MOST_CELLS:
        raise StoreError(
            f"{where} declares {layout.num_layers:,} layers of {num_blocks:,} blocks, and {layout.num_positions:,} positions; "
            f"at most {MOST_CELLS:,} chunks in a shard can be read; {REPAIR}"
        )
