"""Metadata documents: every ``zarr.json`` is read and written here, whole or not at all."""

import json
from typing import Any

from ie_store.errors import StoreError
from ie_store.store.door import Files
from ie_store.store.layout import FORMAT


def read_document(files: Files, key: str) -> dict[str, Any] | None:
    """The ``zarr.json`` of the group or array ``key``; None where there is none.

    Raises:
        StoreError: it is not JSON.
    """
    path = f"{key}/zarr.json" if key else "zarr.json"
    raw = files.read(path)
    if raw is None:
        return None
    try:
        document = json.loads(raw)
        if not isinstance(document, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise StoreError(f"{files.address(path)} is not a JSON object ({error}); restore it, or remove the group") from error
    return document


def write_document(files: Files, key: str, document: dict[str, Any], scratch: str | None = None) -> None:
    """Write the ``zarr.json`` of ``key``, passing through folder ``scratch`` where given."""
    path = f"{key}/zarr.json" if key else "zarr.json"
    files.write_atomic(path, [json.dumps(document, indent=2, allow_nan=False).encode()], scratch=scratch)


def require_store(files: Files) -> None:
    """Raise `StoreError` unless the root is a store that this version can read."""
    document = read_document(files, "")
    if document is None:
        raise StoreError(f"{files.address()} is not a store: it has no zarr.json; give the folder that 'ie-store extract' wrote")
    require_format(document, files.address())


def require_format(document: dict[str, Any], where: str) -> None:
    """Raise `StoreError` unless a group's document is ours and of a version that we know."""
    found = document.get("attributes", {}).get("ie_store_format")
    if found is None:
        raise StoreError(
            f"{where} is a Zarr {document.get('node_type')} of another program; give a store that 'ie-store extract' wrote"
        )
    if found != FORMAT:
        raise StoreError(
            f"{where} has format version {found!r}; this ie-store reads version {FORMAT}: install the one that wrote it"
        )


def dataset_document(files: Files, name: str) -> dict[str, Any] | None:
    """The document of dataset ``name``; None where there is none, or its creation was cut off.

    Raises:
        StoreError: the group is not ours, or not a dataset.
    """
    document = read_document(files, name)
    if document is None:
        return None
    require_format(document, files.address(name))
    if not {"identity", "corpus", "complete", "incomplete_reason", "audit"} <= document["attributes"].keys():
        raise StoreError(
            f"{files.address(name)} is a group of the store, not a dataset; 'ie-store ls {files.root}' lists the datasets"
        )
    return document
