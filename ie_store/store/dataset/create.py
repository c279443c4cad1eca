"""Birth and death of a dataset: what may be created where, in which order, and how it is wiped."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import InputError, StoreError
from ie_store.prefixes import common_prefix_lengths
from ie_store.specs import LEVELS, CorpusSpec, DatasetIdentity
from ie_store.store.dataset.corpus_rows import require_fingerprint
from ie_store.store.dataset.handle import Dataset
from ie_store.store.dataset.ledger import write_empty_ledger
from ie_store.store.dataset.remove import is_temporary, named, strange_entries, wipe_dataset
from ie_store.store.files.protocol import Storage
from ie_store.store.format.arrays import LOCK_FOLDER, coordinate_values, state_template
from ie_store.store.format.attributes import GroupAttributes, dataset_attributes
from ie_store.store.format.metadata import (
    read_dataset,
    read_document,
    read_group,
    require_readable,
    write_document,
    write_group,
)
from ie_store.store.format.small_arrays import write_plain
from ie_store.texts import CorpusTexts

_LOCK = re.compile(rf"[^/]+/[^/]+/{LOCK_FOLDER}/\.lock")


def require_creatable(files: Storage, name: str) -> None:
    """Raise `StoreError` where creating ``name`` would touch anything that is not ours. Touches nothing itself."""
    if read_group(files, "", GroupAttributes) is None and _holds_others(files):
        raise StoreError(f"{files.address()} is not a store and not empty; give a new or empty one")
    read_group(files, name.split("/")[0], GroupAttributes)
    if read_dataset(files, name) is None:
        require_no_stranger(files, name)


def _holds_others(files: Storage) -> bool:
    """True where a folder without a root of ours holds more than the locks of creations that just began.

    Another process may create another dataset meanwhile: its root comes before all else, so who sees more sees it too.
    """
    if all(_LOCK.fullmatch(key) or is_temporary(key) for key in files.list_keys("")):
        return False
    return read_group(files, "", GroupAttributes) is None


def require_no_stranger(files: Storage, name: str) -> None:
    """Raise `StoreError` where something that is not ours stands in the place of a new dataset."""
    if strange := strange_entries(files, name):
        raise StoreError(
            f"{files.address(name)} holds what is not a dataset's: {named(files, strange)}; nothing was touched: "
            "move it away or choose another name (--as)"
        )


def require_rows(
    identity: DatasetIdentity,
    corpus: CorpusSpec,
    tokens: NDArray[np.int32],
    source_row: NDArray[np.int64],
    labels: dict[str, NDArray[Any]],
) -> None:
    """Raise `InputError` unless the corpus's arrays agree with each other and with the layout."""
    layout = identity.layout
    wanted = (layout.num_sequences, layout.num_positions)
    if tokens.shape != wanted or (corpus.num_sequences, corpus.num_positions) != wanted:
        listed = (corpus.num_sequences, corpus.num_positions)
        raise InputError(f"tokens have shape {tokens.shape}, the layout says {wanted} and the corpus {listed}; all must agree")
    common_prefix_lengths(tokens)
    num_distinct = len(np.unique(tokens))
    if num_distinct != layout.num_tokens:
        raise InputError(f"the corpus has {num_distinct:,} distinct tokens, the layout says {layout.num_tokens:,}")
    for what, values in {"source_row": source_row, **labels}.items():
        if values.shape != wanted[:1]:
            raise InputError(f"{what} has shape {values.shape}; it needs one value for each of the {wanted[0]:,} sequences")


def create_dataset(
    files: Storage,
    name: str,
    identity: DatasetIdentity,
    corpus: CorpusSpec,
    tokens: NDArray[np.int32],
    source_row: NDArray[np.int64],
    labels: dict[str, NDArray[Any]],
    texts: CorpusTexts | None,
) -> Dataset:
    """Write a dataset without states, its own ``zarr.json`` last; its handle. The caller holds its lock.

    Until that last write there is no dataset, only leftovers that the next creation wipes.
    """
    layout = identity.layout
    attributes = dataset_attributes(identity, corpus, list(labels))
    require_readable(attributes, files.address(name))
    small_arrays = coordinate_values(layout, tokens, source_row, labels, texts)
    require_fingerprint(identity, corpus, tokens, source_row, labels)
    require_no_stranger(files, name)
    _write_parents(files, name)
    wipe_dataset(files, name)
    for template, values in small_arrays.values():
        write_plain(files, name, template, values)
    for level in LEVELS:
        template = state_template(layout, level)
        write_document(files, f"{name}/{template.name}", template.document())
    write_empty_ledger(files, name, layout)
    write_group(files, name, attributes, scratch=f"{name}/{LOCK_FOLDER}")
    return Dataset(files, name, attributes)


def _write_parents(files: Storage, name: str) -> None:
    """Make the groups above a dataset where they are missing: first the store's root, which says that the folder is ours."""
    for key in ("", name.split("/")[0]):
        if read_document(files, key) is None:
            write_group(files, key, GroupAttributes(), scratch=f"{name}/{LOCK_FOLDER}")


def sweep_temporaries(files: Storage, name: str) -> None:
    """Remove unfinished files that a killed writer left. The caller holds the lock."""
    for key in [key for key in files.list_keys(name) if is_temporary(key) and "/estimates/" not in key]:
        files.delete(key)
