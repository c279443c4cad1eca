"""What is in a store: list and describe datasets."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ie_store.errors import IdentityError, StoreError
from ie_store.specs import LEVELS
from ie_store.store.dataset.corpus_rows import read_corpus
from ie_store.store.dataset.handle import Dataset, find_dataset, open_dataset
from ie_store.store.dataset.ledger import missing_shards, read_sessions
from ie_store.store.dataset.texts import read_texts, row_texts
from ie_store.store.files.open import open_storage
from ie_store.store.files.protocol import Storage
from ie_store.store.format.arrays import is_name_part
from ie_store.store.format.metadata import read_document, require_store
from ie_store.store.results.group import read_results_group
from ie_store.store.results.own_variables import own_variables

SHOWN_ROWS = 3
"""Rows whose text describes a dataset."""
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
    written: str | None = None
    """When the last session that wrote shards began, ISO 8601 in UTC; None where none did."""
    user: str | None = None
    """Who ran it, where that is known."""
    versions: dict[str, str] = field(default_factory=dict)
    """Its package versions."""


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
    for name in dataset_names(files):
        try:
            dataset = find_dataset(files, name)
            if dataset is not None:
                whole.append(_summary(dataset))
        except StoreError as error:
            damaged.append(DamagedDataset(name=name, fault=str(error)))
    return whole, damaged


def dataset_names(files: Storage) -> Iterator[str]:
    """Names MODEL/CORPUS at which a dataset may stand, in order."""
    for model in filter(is_name_part, files.list_folders("")):
        yield from (f"{model}/{corpus}" for corpus in filter(is_name_part, files.list_folders(model)))


def _summary(dataset: Dataset) -> DatasetSummary:
    attributes, layout = dataset.attributes, dataset.layout
    return DatasetSummary(
        name=dataset.name,
        model=attributes.identity.model.id,
        recipe=attributes.corpus.recipe,
        num_sequences=layout.num_sequences,
        num_positions=len(layout.positions),
        num_layers=len(layout.layers),
        hidden_size=layout.hidden_size,
        stored_dtype=layout.stored_dtype,
        disk_bytes=bytes_below(dataset.files, dataset.name),
        complete=attributes.complete,
        incomplete_reason=attributes.incomplete_reason,
        estimates=tuple(result_groups(dataset)),
        **_last_session(dataset),
    )


def _last_session(dataset: Dataset) -> dict[str, Any]:
    """``written``, ``user`` and ``versions`` of the last session, as far as it says them."""
    sessions = read_sessions(dataset)
    last = sessions[-1] if sessions else {}
    written, user, versions = (last.get(name) for name in ("started", "user", "versions"))
    return {
        "written": written if isinstance(written, str) else None,
        "user": user if isinstance(user, str) else None,
        "versions": {str(name): str(found) for name, found in versions.items()} if isinstance(versions, dict) else {},
    }


def bytes_below(files: Storage, prefix: str) -> int:
    """Bytes of all that lies below a dataset's key."""
    return sum(files.size(key) or 0 for key in files.list_keys(prefix))


def result_groups(dataset: Dataset) -> Iterator[str]:
    """Names METHOD-DIGEST of the groups of results, in order."""
    files, folder = dataset.files, dataset.key("estimates")
    yield from (key for key in files.list_folders(folder) if read_document(files, f"{folder}/{key}") is not None)


def describe_dataset(store: str, name: str) -> dict[str, Any]:
    """Everything about a dataset but its numbers, as JSON values.

    Returns:
        ``store``, ``name``, ``identity``, ``corpus``, ``complete``, ``incomplete_reason``, ``audit``, ``sessions``,
        ``missing_shards`` and ``num_shards`` by level, ``bytes`` (``macro``, ``micro``, ``estimates``, ``total``, ``dense``,
        and ``ratio`` = states on disk over dense states), ``estimates`` (group and estimator of each), ``derived`` (a user's own
        variables, see `own_variables`), ``rows`` (``sequence``, ``source_row``, ``tokens`` and, where it is stored,
        ``source_text`` of a few rows; none where no texts are stored).

    Raises:
        StoreError: no such store or dataset.
    """
    dataset = open_dataset(store, name)
    described = {
        "store": store,
        "name": name,
        **{key: value for key, value in asdict(dataset.attributes).items() if key in _DESCRIBED},
        "sessions": read_sessions(dataset),
        "num_shards": {level: dataset.layout.num_shards(level) for level in LEVELS},
        "missing_shards": {level: len(missing_shards(dataset, level)) for level in LEVELS},
        "bytes": _sizes(dataset),
        "estimates": [_described_results(dataset, group) for group in result_groups(dataset)],
        "derived": _own_variables(dataset),
        "rows": _shown_rows(dataset),
    }
    plain: dict[str, Any] = json.loads(json.dumps(described))
    return plain


def _shown_rows(dataset: Dataset) -> list[dict[str, Any]]:
    """A few rows as people read them, from the first to the last; none where no texts are stored or rows are damaged."""
    try:
        texts = read_texts(dataset, verify=True)
        if texts is None:
            return []
        rows = read_corpus(dataset, verify=True)
    except StoreError:  # `verify` says what
        return []
    chosen = np.unique(np.linspace(0, len(rows.tokens) - 1, SHOWN_ROWS).astype(int))
    return [
        {
            "sequence": number,
            "source_row": int(rows.source_row[number]),
            "tokens": row_texts(texts, rows.tokens[number], rows.token_values).tolist(),
            **({} if texts.source is None else {"source_text": texts.source[number]}),
        }
        for number in chosen.tolist()
    ]


def _described_results(dataset: Dataset, group: str) -> dict[str, Any]:
    """Attributes of a results group; where it is damaged or of other states, ``fault`` instead."""
    try:
        found = read_results_group(dataset, group)
    except (StoreError, IdentityError) as error:
        return {"group": group, "fault": str(error)}
    return {"group": group, **(asdict(found) if found else {})}


def _own_variables(dataset: Dataset) -> list[dict[str, Any]]:
    """A user's own variables; none where a group is damaged or of other states, which stands under ``estimates``."""
    try:
        return own_variables(dataset)
    except (StoreError, IdentityError):
        return []


def _sizes(dataset: Dataset) -> dict[str, Any]:
    files, levels = dataset.files, [dataset.layout.level(level) for level in LEVELS]
    on_disk: dict[str, int] = {states.level: bytes_below(files, dataset.key(states.array)) for states in levels}
    dense = sum(states.dense_bytes for states in levels)
    return {
        **on_disk,
        "estimates": bytes_below(files, dataset.key("estimates")),
        "total": bytes_below(files, dataset.name),
        "dense": dense,
        "ratio": sum(on_disk.values()) / dense,
    }
