"""Records to rows: sentences, tokenised one by one and cut to windows of exactly ``length`` tokens."""

import re
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.corpus.recipe_options import TextOptions
from ie_store.corpus.records import Record
from ie_store.corpus.rows import Listing, Tokenizer
from ie_store.corpus.sentences import split_sentences
from ie_store.errors import InputError

LABEL_LIMIT = 1024
"""Most characters of a label: all of them are stored as wide as the longest."""


def cut_windows(records: Iterable[Record], options: TextOptions, label: str, tokenizer: Tokenizer) -> Listing:
    """Windows of ``options.length`` tokens of each sentence, in the order of the source.

    ``starts`` takes the first tokens of a sentence, ``all`` every run of that length inside it; windows never cross the end of
    a sentence. Sentences and records that give no row are counted by reason.

    Raises:
        InputError: no row is left, or a label that cannot be stored.
    """
    length, dropped = options.length, Counter[str]()
    flat, numbers, labels = array("q"), array("q"), []
    texts: list[str] = []
    text_numbers = array("q")
    for record in records:
        if record.text is None or not record.text.strip():
            dropped["null text" if record.text is None else "empty text"] += 1
            continue
        for sentence in split_sentences(record.text):
            ids = tokenizer.encode(sentence)
            last_start = len(ids) - length
            if last_start < 0:
                dropped[f"sentence shorter than {length} tokens"] += 1
                continue
            starts = range(last_start + 1) if options.windows == "all" else range(1)
            for start in starts:
                flat.extend(ids[start : start + length])
            numbers.extend([record.number] * len(starts))
            labels.extend([record.label] * len(starts))
            text_numbers.extend([len(texts)] * len(starts))
            texts.append(sentence)
    _require_rows(len(numbers), dropped, length)
    return Listing(
        tokens=np.frombuffer(flat, dtype=np.int64).reshape(-1, length),
        source_row=np.frombuffer(numbers, dtype=np.int64),
        labels={re.sub("[^A-Za-z0-9_]", "_", label): label_array(label, labels)} if label else {},
        dropped=tuple(sorted(dropped.items())),
        texts=texts,
        text_number=np.frombuffer(text_numbers, dtype=np.int64),
    )


def _require_rows(num_rows: int, dropped: Counter[str], length: int) -> None:
    if num_rows == 0:
        counts = ", ".join(f"{count} x {reason}" for reason, count in sorted(dropped.items())) or "the source is empty"
        raise InputError(f"no sentence of at least {length} tokens is left ({counts}); lower length or give more text")


def label_array(column: str, values: list[Any]) -> NDArray[Any]:
    """Labels (row,) as numbers or fixed-width text.

    Raises:
        InputError: labels that are missing, mixed, too long, or neither numbers nor text.
    """
    kinds = {type(value) for value in values}
    if kinds <= {int, float} or kinds == {bool}:
        numbers = np.array(values)
        if numbers.dtype != object:
            return numbers
    if kinds == {str}:
        longest = max(values, key=len)
        if len(longest) <= LABEL_LIMIT:
            return np.array(values, dtype=np.str_)
        raise InputError(
            f"label {column!r} has a value of {len(longest)} characters ({longest[:40]!r}...); at most {LABEL_LIMIT}"
        )
    found = ", ".join(sorted("null" if kind is type(None) else kind.__name__ for kind in kinds))
    raise InputError(f"label {column!r} holds {found}; labels are all text, all true/false, or all numbers of 64 bits")
