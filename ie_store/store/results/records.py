"""Records: what each piece of stage two's work came to, one sealed file each, written once. They are the commit marks.

::

    estimates/ESTIMATOR-DIGEST/position/records/ITEM.json

A record is a JSON object: the fields of `RecordDocument`, and ``digest``, the SHA-256 of their canonical JSON. Values are
little-endian bytes in base64. The arrays of a group of results are put together from its records and can always be made again.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ie_store.errors import StoreError
from ie_store.store.files.protocol import Storage
from ie_store.store.format.attributes import FORMAT, Format
from ie_store.store.format.metadata import parse_digested, with_digest
from ie_store.variables import Piece, Variable

RECORDS = "position/records"
"""Inside the folder of an array that every group of results has: other files in a group's own folder make Zarr readers warn."""
ENDING = ".json"


@dataclass(frozen=True, kw_only=True)
class StoredPiece:
    """A `Piece` as it lies in a record."""

    variable: str
    """Name of one of the record's variables."""
    index: tuple[tuple[int, ...], ...]
    data: bytes
    """Little-endian values in C order."""


@dataclass(frozen=True, kw_only=True)
class RecordDocument:
    """What a record's file says."""

    ie_store_format: Format = FORMAT
    item: str
    """What was done: the file's name."""
    estimator: dict[str, Any]
    """Name, version and options."""
    activations_digest: str
    """SHA-256 of the identity of the dataset that was read."""
    session: dict[str, Any]
    """Provenance (versions, device, threads, time) of the run."""
    flags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Sentences of the input checks, by ``level/block/position``."""
    variables: tuple[Variable, ...]
    pieces: tuple[StoredPiece, ...]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What one piece of work came to."""

    item: str
    session: dict[str, Any]
    flags: dict[str, tuple[str, ...]]
    pieces: tuple[Piece, ...]


def record_key(group: str, item: str) -> str:
    """Key of a record's file in the group of results ``group``."""
    return f"{group}/{RECORDS}/{item}{ENDING}"


def write_record(files: Storage, group: str, record: Record, estimator: dict[str, Any], activations_digest: str) -> None:
    """Write a record, whole or not at all; one that is there already stays as it is."""
    key = record_key(group, record.item)
    if files.size(key) is not None:
        return
    variables = {piece.variable.name: piece.variable for piece in record.pieces}
    document = RecordDocument(
        item=record.item,
        estimator=estimator,
        activations_digest=activations_digest,
        session=record.session,
        flags=record.flags,
        variables=tuple(variables.values()),
        pieces=tuple(map(_stored, record.pieces)),
    )
    files.write_atomic(key, [json.dumps(with_digest(document), allow_nan=False).encode()])


def _stored(piece: Piece) -> StoredPiece:
    values = piece.values.astype(piece.values.dtype.newbyteorder("<"))
    return StoredPiece(variable=piece.variable.name, index=piece.index, data=values.tobytes())


def record_items(files: Storage, group: str) -> list[str]:
    """Items that have a record, in order."""
    folder = f"{group}/{RECORDS}/"
    names = (key.removeprefix(folder) for key in files.list_keys(folder.rstrip("/")))
    return sorted(name.removesuffix(ENDING) for name in names if name.endswith(ENDING))


def read_record(files: Storage, group: str, item: str, activations_digest: str) -> Record:
    """The record of an item.

    Raises:
        StoreError: it is damaged, or was made from other states.
    """
    key = record_key(group, item)
    where, fix = files.address(key), "remove that file and run the same estimate command again: it makes what is missing"
    document = parse_digested(RecordDocument, files.read(key) or b"", where, fix)
    if document.activations_digest != activations_digest:
        raise StoreError(
            f"{where} was made from other states (digest {document.activations_digest[:12]}, the dataset's is "
            f"{activations_digest[:12]}); {fix}"
        )
    if item != document.item:
        raise StoreError(f"{where} is the record of {document.item}: it was renamed; {fix}")
    try:
        pieces = tuple(_pieces(document))
    except (KeyError, ValueError) as error:
        raise StoreError(f"{where} contradicts itself: {error}; {fix}") from error
    return Record(item=document.item, session=document.session, flags=document.flags, pieces=pieces)


def _pieces(document: RecordDocument) -> Iterable[Piece]:
    variables = {variable.name: variable for variable in document.variables}
    for stored in document.pieces:
        variable = variables[stored.variable]
        shape = tuple(map(len, stored.index))
        values = np.frombuffer(stored.data, np.dtype(variable.dtype).newbyteorder("<")).reshape(shape)
        yield Piece(variable=variable, index=stored.index, values=values.astype(variable.dtype))
