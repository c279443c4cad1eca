"""Tokenizers small enough to be understood: one word, with or without the space before it, is one token."""

import re

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from ie_store.corpus.names import NAMES


class WordTokenizer:
    """Like GPT-2's on common words: a word with a space before it is one token, another than the word alone."""

    def __init__(self):
        self.words: list[str] = []

    def encode(self, text):
        found = re.findall(r" ?\w+|[^\w\s]|\s", text)
        self.words.extend(word for word in dict.fromkeys(found) if word not in self.words)
        return [self.words.index(word) for word in found]

    def decode(self, ids):
        return "".join(self.words[index] for index in ids)


class HubTokenizer:
    """A tokenizer of the tokenizers package behind our two methods."""

    def __init__(self, inner: tokenizers.Tokenizer):
        self.inner = inner

    def encode(self, text):
        return self.inner.encode(text, add_special_tokens=False).ids

    def decode(self, ids):
        return self.inner.decode(ids)


@pytest.fixture
def words():
    return WordTokenizer()


def _trained(pre_tokenizer, decoder):
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer, inner.decoder = pre_tokenizer, decoder
    text = ["x " + " ".join(NAMES["country"][:60]) + " , , ; ->"] * 20
    inner.train_from_iterator(text, trainers.BpeTrainer(vocab_size=2000, show_progress=False))
    return HubTokenizer(inner)


@pytest.fixture(scope="session")
def gpt_like():
    return _trained(pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel())


@pytest.fixture(scope="session")
def llama_like():
    """Puts a word mark before the text itself, so that ``France`` and `` France`` do not differ as lone texts."""
    return _trained(pre_tokenizers.Metaspace(prepend_scheme="always"), decoders.Metaspace())
