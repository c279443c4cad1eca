"""Many texts as bytes and where each lies in them: what any reader of arrays can keep. Imports numpy alone.

A text is ``data[start:stop]`` in UTF-8, with (start, stop) its row of ``span``. Texts that are equal may lie in one place.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Texts by number."""

    data: NDArray[np.uint8]
    """(byte,)"""
    span: NDArray[np.int64]
    """(text, 2) start and stop of each."""

    def __len__(self) -> int:
        return len(self.span)

    def __getitem__(self, number: int) -> str:
        start, stop = self.span[number].tolist()
        return self.data[start:stop].tobytes().decode("utf-8", errors="replace")

    def at(self, numbers: NDArray[Any]) -> NDArray[np.object_]:
        """The texts with these numbers, each made once, in an array of the same shape."""
        distinct, inverse = np.unique(numbers, return_inverse=True)
        texts = np.empty(len(distinct), dtype=object)
        texts[:] = [self[number] for number in distinct.tolist()]
        return texts[inverse.reshape(np.shape(numbers))]


@dataclass(frozen=True, kw_only=True)
class CorpusTexts:
    """What people read of a corpus."""

    token: Texts
    """(token,) the text of each distinct token id, as it stands inside a text."""
    source: Texts | None = None
    """(sequence,) what each row was cut from; None where its tokens are all there is."""

    @property
    def named(self) -> dict[str, Texts]:
        """By the name under which each is stored, ``token_text`` and ``source_text``."""
        return {"token_text": self.token} | ({"source_text": self.source} if self.source is not None else {})


def make_texts(texts: Iterable[str]) -> Texts:
    """Texts in their order; characters that UTF-8 does not have become question marks."""
    encoded = [text.encode("utf-8", errors="replace") for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    span = np.stack([ends[:-1], ends[1:]], axis=1)
    return Texts(data=np.frombuffer(b"".join(encoded), np.uint8), span=span)


def shared_texts(texts: list[str], numbers: NDArray[np.int64]) -> Texts:
    """The text with each of ``numbers`` (row,); those that several rows share are kept once, in the order of the rows."""
    distinct, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first)
    kept = make_texts(texts[number] for number in distinct[order].tolist())
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return Texts(data=kept.data, span=kept.span[place[inverse]])


def texts_digest(fingerprint: str, name: str, texts: Texts) -> str:
    """SHA-256 (64 hex digits) that ties texts to the corpus with ``fingerprint`` and to their name."""
    sha = hashlib.sha256(f"{fingerprint}\0{name}\0{len(texts)}\0".encode())
    sha.update(np.ascontiguousarray(texts.span.astype("<i8", copy=False)).data)
    sha.update(np.ascontiguousarray(texts.data).data)
    return sha.hexdigest()


def texts_fault(texts: Texts, num_texts: int) -> str | None:
    """Why spans cannot be those of ``num_texts`` texts in the bytes; None where they can."""
    if texts.data.ndim != 1 or texts.data.dtype != np.uint8 or texts.span.shape != (num_texts, 2):
        return f"spans of shape {texts.span.shape} into bytes of shape {texts.data.shape}, where there are {num_texts:,} texts"
    start, stop = texts.span.T
    if len(texts) and not (start.min() >= 0 and bool((start <= stop).all()) and stop.max() <= len(texts.data)):
        return f"spans that do not lie in its {len(texts.data):,} bytes"
    return None
