"""From rows in the order of their source to a corpus: drawn, checked, sorted, fingerprinted."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import InputError
from ie_store.fingerprint import fingerprint
from ie_store.prefixes import lexicographic_order
from ie_store.specs import CorpusSpec
from ie_store.texts import CorpusTexts, Texts, shared_texts


class Tokenizer(Protocol):
    """What a corpus needs of a tokenizer; adds no special tokens of its own."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""

    def decode(self, ids: list[int]) -> str:
        """Text of token ids."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Rows as their source lists them, before they are drawn from and sorted."""

    tokens: NDArray[np.integer]
    """(row, position) token ids, unchecked."""
    source_row: NDArray[np.int64]
    """(row,) record, line or permutation number that each row comes from."""
    labels: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Each (row,)."""
    dropped: tuple[tuple[str, int], ...] = ()
    complete: bool = False
    population_prefix_nats: tuple[float, ...] | None = None
    population_token_nats: tuple[float, ...] | None = None
    texts: list[str] | None = None
    """What rows were cut from, each once; None where that is nothing but their tokens."""
    text_number: NDArray[np.int64] | None = None
    """(row,) index into ``texts``."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Token rows ready for a model."""

    spec: CorpusSpec
    tokens: NDArray[np.int32]
    """(sequence, position), lexicographically sorted; equal rows stay, in the order of their source."""
    source_row: NDArray[np.int64]
    """(sequence,) record, line or permutation number that each sequence comes from."""
    labels: dict[str, NDArray[Any]]
    """Each (sequence,), numbers or fixed-width text."""
    source_texts: Texts | None = None
    """(sequence,) what each row was cut from; None where that is nothing but its tokens."""
    token_texts: Texts | None = None
    """(token,) the text of each distinct token id; None where no tokenizer says it."""

    @cached_property
    def token_values(self) -> NDArray[np.int32]:
        """(token,) the distinct token ids, rising."""
        return np.unique(self.tokens)

    @property
    def texts(self) -> CorpusTexts | None:
        """What people read of it."""
        return None if self.token_texts is None else CorpusTexts(token=self.token_texts, source=self.source_texts)


def draw_rows(listing: Listing, num_rows: int | None, seed: int) -> Listing:
    """The listing, or ``num_rows`` of it drawn without replacement; rows not drawn are counted as dropped.

    Raises:
        InputError: fewer rows are listed than asked for.
    """
    listed = len(listing.tokens)
    if num_rows is None or num_rows == listed:
        return listing
    if num_rows > listed:
        raise InputError(f"num_sequences is {num_rows} but the corpus has only {listed} sequences; ask for fewer, or for all")
    kept = np.sort(np.random.default_rng(seed).choice(listed, size=num_rows, replace=False, shuffle=False))
    return replace(
        listing,
        tokens=listing.tokens[kept],
        source_row=listing.source_row[kept],
        labels={name: label[kept] for name, label in listing.labels.items()},
        text_number=None if listing.text_number is None else listing.text_number[kept],
        dropped=(*listing.dropped, ("not drawn into the sample", listed - num_rows)),
        complete=False,
    )


def sort_rows(listing: Listing, *, recipe: str, name: str, vocab_size: int) -> Corpus:
    """Sort a listing lexicographically into a corpus.

    Raises:
        InputError: a token id that is not in the model's vocabulary.
    """
    require_in_vocabulary(listing.tokens, listing.source_row, vocab_size)
    order = lexicographic_order(listing.tokens)
    tokens = listing.tokens[order].astype(np.int32)
    source_row = listing.source_row[order]
    labels = {name: label[order] for name, label in listing.labels.items()}
    spec = CorpusSpec(
        recipe=recipe,
        name=name,
        fingerprint=fingerprint(tokens, source_row, labels),
        num_sequences=tokens.shape[0],
        num_positions=tokens.shape[1],
        complete=listing.complete,
        population_prefix_nats=listing.population_prefix_nats,
        population_token_nats=listing.population_token_nats,
        dropped=listing.dropped,
    )
    numbers = None if listing.text_number is None else listing.text_number[order]
    texts = None if listing.texts is None or numbers is None else shared_texts(listing.texts, numbers)
    return Corpus(spec=spec, tokens=tokens, source_row=source_row, labels=labels, source_texts=texts)


def require_in_vocabulary(tokens: NDArray[np.integer], source_row: NDArray[np.int64], vocab_size: int) -> None:
    """Raise `InputError` unless every id of ``tokens`` (row, position) lies in 0..vocab_size-1; it names the ``source_row``."""
    outside = np.argwhere((tokens < 0) | (tokens >= vocab_size))
    if len(outside):
        row, position = outside[0]
        raise InputError(
            f"token id {tokens[row, position]} at position {position} of source row {source_row[row]} is outside the "
            f"model's vocabulary 0..{vocab_size - 1} ({len(outside)} such tokens); was the corpus made for another model?"
        )
