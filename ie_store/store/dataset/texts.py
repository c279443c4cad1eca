"""What people read of a dataset's rows: the text of its tokens, and what each row was cut from, where they are stored."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import REPAIR, StoreError
from ie_store.store.dataset.handle import Dataset
from ie_store.store.format.arrays import BYTES_SUFFIX, SPAN_SUFFIX, TEXT_OF
from ie_store.store.format.metadata import read_document
from ie_store.store.format.small_arrays import read_plain
from ie_store.texts import CorpusTexts, Texts, texts_digest, texts_fault


def read_texts(dataset: Dataset, verify: bool) -> CorpusTexts | None:
    """The texts of a dataset's corpus; None where it has none, as where a corpus of token ids met no tokenizer.

    Raises:
        StoreError: an array of them is missing, damaged, or with ``verify`` of another corpus.
    """
    layout = dataset.layout
    counts = {"token": layout.num_tokens, "sequence": layout.num_sequences}
    found = {name: _read(dataset, name, counts[dimension], verify) for name, (dimension, _) in TEXT_OF.items()}
    token = found["token_text"]
    return None if token is None else CorpusTexts(token=token, source=found["source_text"])


def _read(dataset: Dataset, name: str, count: int, verify: bool) -> Texts | None:
    keys = [dataset.key(name + suffix) for suffix in (BYTES_SUFFIX, SPAN_SUFFIX)]
    documents = [read_document(dataset.files, key) for key in keys]
    if documents == [None, None]:
        return None
    texts = Texts(data=read_plain(dataset.files, keys[0]), span=read_plain(dataset.files, keys[1]))
    if fault := texts_fault(texts, count):
        raise StoreError(f"{dataset.files.address(keys[1])} is damaged: it holds {fault}; {REPAIR}")
    attributes: Any = (documents[1] or {}).get("attributes")
    named = attributes.get("digest") if isinstance(attributes, dict) else None
    if verify and texts_digest(dataset.identity.corpus_fingerprint, name, texts) != named:
        raise StoreError(f"{dataset.files.address(keys[1])} and the bytes beside it are not this corpus's; {REPAIR}")
    return texts


def row_texts(texts: CorpusTexts, tokens: NDArray[np.int32], token_values: NDArray[np.int32]) -> NDArray[np.object_]:
    """The text of each token (sequence, position) of some rows; ``token_values`` (token,) are the distinct ids, sorted."""
    return texts.token.at(np.searchsorted(token_values, tokens))
