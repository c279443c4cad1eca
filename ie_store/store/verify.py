"""Checking a dataset to its last byte: metadata, the corpus, and every chunk of every shard against the ledger."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import IeStoreError, StoreError
from ie_store.options import OnProgress, ignore_progress
from ie_store.prefixes import common_prefix_lengths
from ie_store.specs import LEVELS
from ie_store.store.dataset.corpus_rows import corpus_fault, read_corpus
from ie_store.store.dataset.handle import Dataset, open_dataset
from ie_store.store.dataset.ledger import ledger_templates, read_sessions
from ie_store.store.dataset.shard_check import ShardCheck, differing
from ie_store.store.dataset.texts import read_texts
from ie_store.store.format.arrays import coordinate_values, state_template
from ie_store.store.format.metadata import read_array, read_document
from ie_store.store.format.small_arrays import read_plain
from ie_store.store.results.verify import results_faults


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What `verify_dataset` looked at and what it found."""

    num_shards: int
    num_chunks: int
    """Chunks whose checksum was compared."""
    num_bytes: int
    faults: list[str]
    """One sentence each; empty where all is well."""


def verify_dataset(store: str, name: str, on_progress: OnProgress = ignore_progress) -> VerifyReport:
    """Read a whole dataset and compare all that can be compared. Lists every fault instead of stopping at the first.

    Raises:
        StoreError: no such store or dataset.
    """
    dataset = open_dataset(store, name)
    check = ShardCheck(dataset, on_progress)
    faults = [*_metadata_faults(dataset), *_array_faults(dataset), *results_faults(dataset)]
    faults = list(dict.fromkeys([*faults, *check.all_faults()]))  # two checks may meet the same one
    return VerifyReport(num_shards=check.num_shards, num_chunks=check.num_chunks, num_bytes=check.num_bytes, faults=faults)


def _metadata_faults(dataset: Dataset) -> Iterator[str]:
    """Arrays whose metadata do not follow from the dataset's identity."""
    files, layout = dataset.files, dataset.layout
    templates = {t.name: t for t in (state_template(layout, level) for level in LEVELS)}
    templates |= {f"ledger/{t.name}": t for t in ledger_templates(layout)}
    try:
        read_sessions(dataset)
    except StoreError as error:
        yield str(error)
    for array, template in templates.items():
        try:
            read_array(files, dataset.key(array))
            document = read_document(files, dataset.key(array)) or {}
        except StoreError as error:
            yield str(error)
            continue
        if fields := differing(document, template):
            yield f"{dataset.address_of(array)}/zarr.json does not fit the dataset's identity: {', '.join(fields)}"


def _array_faults(dataset: Dataset) -> Iterator[str]:
    """Small arrays that are damaged, or that contradict each other."""
    files, layout = dataset.files, dataset.layout
    found: dict[str, NDArray[Any]] = {}
    others = {layout.level(level).array for level in LEVELS} | {"ledger", "estimates"}
    for array in (array for array in files.list_folders(dataset.name) if array not in others):
        try:
            found[array] = read_plain(files, dataset.key(array))
        except StoreError as error:
            yield str(error)
    tokens, source_row = found.get("token_id"), found.get("source_row")
    for array in {"token_id", "layer", "position", "sequence", "token", "source_row"} - found.keys():
        yield f"{dataset.address_of(array)} cannot be read"
    if tokens is None or source_row is None:
        return
    try:
        common_prefix_lengths(tokens)
    except IeStoreError as error:
        yield f"{dataset.address_of('token_id')}: {error}"
    for array, (_, values) in coordinate_values(layout, tokens, source_row, {}).items():
        if array in found and not np.array_equal(found[array], values):
            yield f"{dataset.address_of(array)} does not hold the values that follow from the layout and token_id"
    yield from _corpus_faults(dataset)
    try:
        read_texts(dataset, verify=True)
    except StoreError as error:
        yield str(error)


def _corpus_faults(dataset: Dataset) -> Iterator[str]:
    """Rows that are not those which the states belong to."""
    try:
        rows = read_corpus(dataset, verify=False)
    except StoreError as error:
        yield str(error)
        return
    if fault := corpus_fault(rows, dataset):
        yield fault
