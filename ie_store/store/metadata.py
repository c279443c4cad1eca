"""Metadata documents: every ``zarr.json`` is read and written here, whole or not at all, and parsed into typed values."""

import json
from dataclasses import asdict
from typing import Any, NoReturn, TypeVar

from ie_store.errors import REPAIR, StoreError
from ie_store.specs import digest
from ie_store.store.attributes import FORMAT, Attributes, DatasetAttributes, GroupAttributes
from ie_store.store.door import Files
from ie_store.store.typed import Malformed, encode_bytes, parse

A = TypeVar("A", bound=Attributes)
D = TypeVar("D")


def read_document(files: Files, key: str) -> dict[str, Any] | None:
    """The ``zarr.json`` of the group or array ``key``, unparsed; None where there is none.

    Raises:
        StoreError: it is not a JSON object.
    """
    path = f"{key}/zarr.json" if key else "zarr.json"
    raw = files.read(path)
    if raw is None:
        return None
    return _parse_object(raw, files.address(path), "restore it, or remove the group")


def _parse_object(raw: bytes, where: str, fix: str) -> dict[str, Any]:
    try:
        document = json.loads(raw, parse_constant=_refuse_constant)
        if not isinstance(document, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{where} is not a JSON object ({error}); {fix}") from error
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def write_document(files: Files, key: str, document: dict[str, Any], scratch: str | None = None) -> None:
    """Write the ``zarr.json`` of ``key``, passing through folder ``scratch`` where given."""
    path = f"{key}/zarr.json" if key else "zarr.json"
    files.write_atomic(path, [json.dumps(document, indent=2, allow_nan=False).encode()], scratch=scratch)


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


def write_group(files: Files, key: str, attributes: Attributes, scratch: str | None = None) -> None:
    """Write the ``zarr.json`` of a group of ours."""
    write_document(files, key, group_document(attributes), scratch)


def read_group(files: Files, key: str, kind: type[A]) -> A | None:
    """The attributes of a group of ours; None where there is no such group.

    Raises:
        StoreError: another program's group, another format version, or attributes that were changed or are damaged.
    """
    document = read_document(files, key)
    if document is None:
        return None
    where = f"{files.address(key)}/zarr.json"
    attributes = document.get("attributes")
    if document.get("node_type") != "group" or document.get("zarr_format") != 3 or not isinstance(attributes, dict):
        raise StoreError(f"{where} is not the document of a Zarr v3 group; restore it, or remove the folder")
    names = kind.__dataclass_fields__
    if "ie_store_format" in names:
        require_format(attributes, files.address(key))
    values = {name: attributes[name] for name in names if name in attributes}
    return _parsed(kind, values, attributes.get("digest"), where, f"restore the file, or {REPAIR}")


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


def require_store(files: Files) -> None:
    """Raise `StoreError` unless the root is a store that this version can read."""
    if read_group(files, "", GroupAttributes) is None:
        raise StoreError(f"{files.address()} is not a store: it has no zarr.json; give the folder that 'ie-store extract' wrote")


def read_dataset(files: Files, name: str) -> DatasetAttributes | None:
    """The attributes of dataset ``name``; None where there is none, or its creation was cut off.

    Raises:
        StoreError: the group is not ours, not a dataset, or damaged.
    """
    document = read_document(files, name) or {}
    attributes = document.get("attributes")
    if isinstance(attributes, dict) and set(attributes) - {"digest"} == set(GroupAttributes.__dataclass_fields__):
        raise StoreError(
            f"{files.address(name)} is a group of the store, not a dataset; 'ie-store ls {files.root}' lists the datasets"
        )
    return read_group(files, name, DatasetAttributes)


def require_dataset(files: Files, name: str) -> DatasetAttributes:
    """The attributes of dataset ``name``.

    Raises:
        StoreError: no such store or dataset, or damaged.
    """
    require_store(files)
    found = read_dataset(files, name)
    if found is None:
        raise StoreError(f"{files.address(name)} is not a dataset; 'ie-store ls {files.root}' lists the datasets of this store")
    return found
