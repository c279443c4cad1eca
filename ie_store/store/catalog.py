"""What is in a store: list and describe datasets."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ie_store.errors import IdentityError, StoreError
from ie_store.specs import ITEM_BYTES, DatasetIdentity, Level, StoreLayout
from ie_store.store.dataset.ledger import LEVELS, missing_shards, read_sessions
from ie_store.store.files.open import open_storage
from ie_store.store.files.protocol import Storage
from ie_store.store.format.arrays import dataset_name, is_name_part, state_array, stored_cells
from ie_store.store.format.attributes import DatasetAttributes
from ie_store.store.format.metadata import read_dataset, read_document, require_dataset, require_store
from ie_store.store.results.group import read_results_group

_DESCRIBED = ("identity", "corpus", "complete", "incomplete_reason", "audit")


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """One line about a dataset."""

    name: str
    """MODEL/CORPUS."""
    model: str
    recipe: str
    num_sequences: int
    num_positions: int
    num_layers: int
    """Layers and positions that are stored, not those the model has."""
    hidden_size: int
    stored_dtype: str
    disk_bytes: int
    complete: bool
    incomplete_reason: str | None
    estimates: tuple[str, ...]
    """Names of the results' groups."""


@dataclass(frozen=True, kw_only=True)
class DamagedDataset:
    """A dataset that cannot be described, and why."""

    name: str
    fault: str


def list_datasets(store: str) -> tuple[list[DatasetSummary], list[DamagedDataset]]:
    """All datasets of a store, by name: those that can be described, and those that cannot.

    Raises:
        StoreError: not a store.
    """
    files = open_storage(store)
    require_store(files)
    whole: list[DatasetSummary] = []
    damaged: list[DamagedDataset] = []
    for name in _names(files):
        try:
            attributes = read_dataset(files, name)
            if attributes is not None:
                whole.append(_summary(files, name, attributes))
        except StoreError as error:
            damaged.append(DamagedDataset(name=name, fault=str(error)))
    return whole, damaged


def _names(files: Storage) -> Iterator[str]:
    for model in filter(is_name_part, files.list_folders("")):
        yield from (f"{model}/{corpus}" for corpus in filter(is_name_part, files.list_folders(model)))


def _summary(files: Storage, name: str, attributes: DatasetAttributes) -> DatasetSummary:
    layout = attributes.identity.layout
    return DatasetSummary(
        name=name,
        model=attributes.identity.model.id,
        recipe=attributes.corpus.recipe,
        num_sequences=layout.num_sequences,
        num_positions=len(layout.positions),
        num_layers=len(layout.layers),
        hidden_size=layout.hidden_size,
        stored_dtype=layout.stored_dtype,
        disk_bytes=_bytes_below(files, name),
        complete=attributes.complete,
        incomplete_reason=attributes.incomplete_reason,
        estimates=tuple(_estimates(files, name)),
    )


def _bytes_below(files: Storage, prefix: str) -> int:
    return sum(files.size(key) or 0 for key in files.list_keys(prefix))


def _estimates(files: Storage, name: str) -> Iterator[str]:
    folder = f"{name}/estimates"
    yield from (key for key in files.list_folders(folder) if read_document(files, f"{folder}/{key}") is not None)


def describe_dataset(store: str, name: str) -> dict[str, Any]:
    """Everything about a dataset but its numbers, as JSON values.

    Returns:
        ``store``, ``name``, ``identity``, ``corpus``, ``complete``, ``incomplete_reason``, ``audit``, ``sessions``,
        ``missing_shards`` and ``num_shards`` by level, ``bytes`` (``macro``, ``micro``, ``estimates``, ``total``, ``dense``,
        and ``ratio`` = states on disk over dense states), ``estimates`` (group and estimator of each).

    Raises:
        StoreError: no such store or dataset.
    """
    files = open_storage(store)
    attributes = require_dataset(files, dataset_name(name))
    layout = attributes.identity.layout
    described = {
        "store": store,
        "name": name,
        **{key: value for key, value in asdict(attributes).items() if key in _DESCRIBED},
        "sessions": read_sessions(files, name),
        "num_shards": {level: layout.num_shards(level) for level in LEVELS},
        "missing_shards": {level: len(missing_shards(files, name, layout, level)) for level in LEVELS},
        "bytes": _sizes(files, name, layout),
        "estimates": [_described_results(files, name, group, attributes.identity) for group in _estimates(files, name)],
    }
    plain: dict[str, Any] = json.loads(json.dumps(described))
    return plain


def _described_results(files: Storage, name: str, group: str, identity: DatasetIdentity) -> dict[str, Any]:
    """Attributes of a results group; where it is damaged or of other states, ``fault`` instead."""
    try:
        found = read_results_group(files, name, group, identity)
    except (StoreError, IdentityError) as error:
        return {"group": group, "fault": str(error)}
    return {"group": group, **(asdict(found) if found else {})}


def _sizes(files: Storage, name: str, layout: StoreLayout) -> dict[str, Any]:
    on_disk: dict[str, int] = {
        level: _bytes_below(files, f"{name}/{state_array(level, layout.stored_dtype)}") for level in LEVELS
    }
    dense = sum(dense_bytes(layout, level) for level in LEVELS)
    return {
        **on_disk,
        "estimates": _bytes_below(files, f"{name}/estimates"),
        "total": _bytes_below(files, name),
        "dense": dense,
        "ratio": sum(on_disk.values()) / dense,
    }


def dense_bytes(layout: StoreLayout, level: Level) -> int:
    """Bytes of the states as a plain array: every stored layer and position of every row."""
    rows = layout.num_sequences if level == "macro" else layout.num_tokens
    return len(stored_cells(layout, level)) * rows * layout.hidden_size * ITEM_BYTES[layout.stored_dtype]
