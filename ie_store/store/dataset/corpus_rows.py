"""The rows of a dataset's corpus as the store keeps them, and whether they are those that its identity names."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import REPAIR, InputError, StoreError
from ie_store.fingerprint import Category, Label, fingerprint
from ie_store.specs import CorpusSpec, DatasetIdentity
from ie_store.store.dataset.handle import Dataset
from ie_store.store.files.protocol import Storage
from ie_store.store.format.arrays import is_label_name
from ie_store.store.format.metadata import read_document
from ie_store.store.format.small_arrays import read_plain

LONGEST_FIXED = 128
"""Characters of a text up to which numpy keeps texts of one width, which Dask can cut; longer ones are Python objects."""
MOST_MARKED = 2**24
"""Larger than any vocabulary."""


@dataclass(frozen=True, kw_only=True)
class CorpusArrays:
    """What a dataset holds of its corpus."""

    tokens: NDArray[np.int32]
    """(sequence, position)"""
    token_values: NDArray[np.int32]
    """(token,) distinct token ids, sorted: the rows of micro."""
    source_row: NDArray[np.int64]
    """(sequence,)"""
    labels: dict[str, Label]
    """Each (sequence,): numbers, or texts as a category."""


def read_corpus(dataset: Dataset, verify: bool) -> CorpusArrays:
    """The rows of a dataset; with ``verify`` only where they have the fingerprint that the dataset's identity names.

    Raises:
        StoreError: an array is missing, damaged, or not the one that the states belong to.
    """
    files, layout, names = dataset.files, dataset.layout, dataset.attributes.labels
    if strange := [label for label in names if not is_label_name(label)]:
        raise StoreError(f"{dataset.address}/zarr.json names a label {strange[0]!r}, which cannot be one; {REPAIR}")
    found = CorpusArrays(
        tokens=read_plain(files, dataset.key("token_id"), (layout.num_sequences, layout.num_positions)),
        token_values=read_plain(files, dataset.key("token"), (layout.num_tokens,)),
        source_row=read_plain(files, dataset.key("source_row"), (layout.num_sequences,)),
        labels={label: _read_label(files, dataset.key(label), layout.num_sequences) for label in names},
    )
    if verify and (fault := corpus_fault(found, dataset)):
        raise StoreError(fault)
    return found


def _read_label(files: Storage, key: str, num_sequences: int) -> Label:
    values = read_plain(files, key, (num_sequences,))
    texts = (read_document(files, key) or {}).get("attributes", {}).get("categories")
    if texts is None:
        return values
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise StoreError(f"{files.address(key)}/zarr.json is damaged: its categories are not a list of texts; {REPAIR}")
    if values.dtype.kind not in "iu" or (len(values) and not 0 <= values.min() <= values.max() < len(texts)):
        raise StoreError(f"{files.address(key)} holds codes that none of its {len(texts):,} categories has; {REPAIR}")
    return Category(texts=tuple(texts), codes=values)


def corpus_fault(found: CorpusArrays, dataset: Dataset) -> str | None:
    """Why the rows are not those of the dataset; None where they are."""
    named, actual = dataset.identity.corpus_fingerprint, fingerprint(found.tokens, found.source_row, found.labels)
    if actual != named:
        arrays = ", ".join(("token_id", "source_row", *dataset.attributes.labels))
        return (
            f"{dataset.address}: the rows in {arrays} are not those that the states belong to: their fingerprint is "
            f"{actual[:16]}..., the dataset's identity names {named[:16]}...; {REPAIR}"
        )
    if not np.array_equal(found.token_values, _distinct(found.tokens)):
        return f"{dataset.address}/token does not hold the distinct values of token_id; {REPAIR}"
    return None


def _distinct(tokens: NDArray[np.int32]) -> NDArray[np.integer]:
    """Sorted distinct values; ids of a vocabulary are marked off, which takes a tenth of the time of sorting them."""
    if tokens.min() < 0 or tokens.max() >= MOST_MARKED:
        return np.unique(tokens)
    marks = np.zeros(int(tokens.max()) + 1, dtype=bool)
    for column in tokens.T:  # whose numbers are widened to index with
        marks[column] = True
    return np.flatnonzero(marks)


def require_fingerprint(
    identity: DatasetIdentity,
    corpus: CorpusSpec,
    tokens: NDArray[np.int32],
    source_row: NDArray[np.int64],
    labels: dict[str, NDArray[Any]],
) -> None:
    """Raise `InputError` unless the rows have the fingerprint that every reader of the dataset will ask for."""
    actual = fingerprint(tokens, source_row, labels)
    if not actual == identity.corpus_fingerprint == corpus.fingerprint:
        raise InputError(
            f"the rows have fingerprint {actual}, the identity says {identity.corpus_fingerprint!r} and the corpus "
            f"{corpus.fingerprint!r}; all must agree: take it from ie_store.fingerprint"
        )


def texts_of(label: Label) -> NDArray[Any]:
    """A label's values (sequence,) as they came from the source."""
    if not isinstance(label, Category):
        return label
    longest = max(map(len, label.texts), default=1)
    texts: NDArray[Any] = np.array(label.texts, dtype=f"U{max(longest, 1)}" if longest <= LONGEST_FIXED else object)
    return texts[label.codes]
