"""A tokenizer of transformers in the form corpora need: text to token ids, nothing added."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transformers import AutoTokenizer

from ie_store.extract.model.digest import text_digest
from ie_store.extract.model.quiet import silence


@dataclass(frozen=True)
class PlainTokenizer:
    """Encodes and decodes without special tokens; fits `corpus.rows.Tokenizer`."""

    tokenizer: Any

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""
        return [int(token) for token in self.tokenizer.encode(text, add_special_tokens=False)]

    def decode(self, ids: list[int]) -> str:
        """Text of token ids."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    @property
    def bos_id(self) -> int | None:
        """Its beginning-of-sequence token."""
        token = self.tokenizer.bos_token_id
        return None if token is None else int(token)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its vocabulary, merges and settings."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        return text_digest(backend.to_str() if backend is not None else repr(sorted(self.tokenizer.get_vocab().items())))


def load_tokenizer(source: str, arguments: dict[str, Any]) -> tuple[PlainTokenizer | None, str]:
    """The tokenizer that comes with a model, or None and the reason why there is none."""
    try:
        with silence():
            return PlainTokenizer(AutoTokenizer.from_pretrained(source, **arguments)), ""
    except Exception as error:  # tokenizers raise nearly anything on missing or foreign files; corpora of token ids need none
        return None, (str(error).strip().splitlines() or [type(error).__name__])[0]
