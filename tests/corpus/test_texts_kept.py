"""The texts that a corpus keeps: what rows were cut from, and what each token reads as."""

import numpy as np
import pytest

from ie_store.corpus.make import make_corpus
from ie_store.corpus.token_text import token_strings

LINES = ["The cat sat on the mat. A dog ran away from it!\n", "short\n", "One two three four five six.\n"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("".join(LINES))
    return path


@pytest.mark.parametrize("windows", ["starts", "all"])
def test_a_row_lies_in_the_text_it_was_cut_from(words, file, windows):
    corpus = make_corpus(f"text:{file}?length=3&windows={windows}", tokenizer=words, vocab_size=1000)
    sources = corpus.texts.source.at(np.arange(len(corpus.tokens)))
    assert set(sources) == {"The cat sat on the mat.", "A dog ran away from it!", "One two three four five six."}
    for row, source, number in zip(corpus.tokens, sources, corpus.source_row, strict=True):
        assert words.decode(row.tolist()) in source
        assert source in LINES[number]
    assert len(corpus.texts.source.data) == sum(map(len, set(sources)))


def test_a_sample_keeps_only_its_own_texts(words, file):
    corpus = make_corpus(f"text:{file}?length=3&num_sequences=1", tokenizer=words, vocab_size=1000)
    assert words.decode(corpus.tokens[0].tolist()) in corpus.texts.source[0]
    assert len(corpus.texts.source.data) == len(corpus.texts.source[0])


@pytest.mark.parametrize("kind", ["gpt_like", "llama_like"])
def test_tokens_read_as_they_do_inside_a_text(request, kind):
    tokenizer = request.getfixturevalue(kind)
    text = "x France , Italy ; Spain -> Peru"
    ids = tokenizer.encode(text)
    known = sorted(set(ids))
    strings = dict(zip(known, token_strings(tokenizer, known), strict=True))
    assert "".join(strings[token] for token in ids).strip() == text
    assert strings[tokenizer.encode("x France")[-1]] == " France"


def test_permutations_need_no_text_but_their_tokens(gpt_like):
    corpus = make_corpus("icl:country?names=3&shots=2", tokenizer=gpt_like, vocab_size=5000)
    assert corpus.texts.source is None
    known = np.unique(corpus.tokens)
    row = corpus.texts.token.at(np.searchsorted(known, corpus.tokens))[0]
    assert "".join(row) == gpt_like.decode(corpus.tokens[0].tolist())


def test_ids_without_a_tokenizer_have_no_texts(tmp_path):
    np.save(tmp_path / "ids.npy", np.array([[1, 2], [0, 2]]))
    assert make_corpus(f"tokens:{tmp_path}/ids.npy", tokenizer=None, vocab_size=9).texts is None
