import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ie_store.corpus.make import corpus_name, make_corpus
from ie_store.corpus.sentences import split_sentences
from ie_store.errors import InputError

STORY = "The cat sat on a mat. It slept! Then the dog came home and barked.\n\nA bird sang a song.\n"


def texts(words, corpus):
    return [words.decode(row) for row in corpus.tokens.tolist()]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two? Three! Four", ["One.", "Two?", "Three!", "Four"]),
        ("He paid 3.50 dollars. She did not.", ["He paid 3.50 dollars.", "She did not."]),
        ('"Go!" she said. "Why?" He went.', ['"Go!" she said.', '"Why?"', "He went."]),
        ("Dr. Who met J. Smith. They left.", ["Dr. Who met J. Smith.", "They left."]),
        ("So do I. We agree.", ["So do I.", "We agree."]),
        ("Wait... what? Yes.", ["Wait... what?", "Yes."]),
        ("a line\nanother line\n\n  third  ", ["a line", "another line", "third"]),
        ("\u4f60\u597d\u3002\u518d\u89c1\uff01", ["\u4f60\u597d\u3002", "\u518d\u89c1\uff01"]),
        (" \n\t", []),
    ],
)
def test_sentences(text, sentences):
    assert list(split_sentences(text)) == sentences


@given(st.text(alphabet="ab I.!?\u3002\n\"'(D", max_size=60))
def test_no_character_is_lost_between_sentences(text):
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


def test_starts_of_sentences(words, tmp_path):
    (tmp_path / "a.txt").write_text(STORY)
    corpus = make_corpus(f"text:{tmp_path}/a.txt?length=5", tokenizer=words, vocab_size=99)
    rows = {"The cat sat on a": 0, "Then the dog came home": 0, "A bird sang a song": 2}
    assert dict(zip(texts(words, corpus), corpus.source_row.tolist(), strict=True)) == rows
    assert corpus.spec.dropped == (("empty text", 1), ("sentence shorter than 5 tokens", 1))
    assert corpus.spec.population_prefix_nats is None
    assert not corpus.spec.complete


def test_every_window_of_a_sentence_and_duplicates_stay(words, tmp_path):
    (tmp_path / "a.txt").write_text("a b a b a\nc\n")
    corpus = make_corpus(f"text:{tmp_path}/a.txt?length=2&windows=all", tokenizer=words, vocab_size=99)
    assert sorted(texts(words, corpus)) == [" a b", " b a", " b a", "a b"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    lines=st.lists(st.lists(st.sampled_from("uvwxyz"), max_size=9), min_size=1, max_size=12),
    length=st.integers(1, 4),
    every=st.booleans(),
)
def test_windows_against_brute_force(words, tmp_path, lines, length, every):
    (tmp_path / "a.txt").write_text("\n".join(" ".join(line) for line in lines))
    expected = []
    for number, line in enumerate(lines):
        ids = words.encode(" ".join(line))
        starts = range(len(ids) - length + 1) if every else range(min(1, max(0, len(ids) - length + 1)))
        expected += [(ids[start : start + length], number) for start in starts]
    recipe = f"text:{tmp_path}/a.txt?length={length}&windows={'all' if every else 'starts'}"
    if not expected:
        with pytest.raises(InputError, match="no sentence of at least"):
            make_corpus(recipe, tokenizer=words, vocab_size=99)
        return
    corpus = make_corpus(recipe, tokenizer=words, vocab_size=99)
    assert list(zip(corpus.tokens.tolist(), corpus.source_row.tolist(), strict=True)) == sorted(expected)


def test_several_files_patterns_and_gzip_continue_the_count(words, tmp_path):
    (tmp_path / "b.txt").write_text("b b b\n")
    (tmp_path / "c.txt").write_text("c c c")
    with gzip.open(tmp_path / "a.txt.gz", "wt") as file:
        file.write("x\na a a\n")
    listed = make_corpus(f"text:{tmp_path}/b.txt,{tmp_path}/a.txt.gz?length=3", tokenizer=words, vocab_size=99)
    assert dict(zip(texts(words, listed), listed.source_row.tolist(), strict=True)) == {"b b b": 0, "a a a": 2}
    globbed = make_corpus(f"text:{tmp_path}/*?length=3", tokenizer=words, vocab_size=99)
    assert dict(zip(texts(words, globbed), globbed.source_row.tolist(), strict=True)) == {"a a a": 1, "b b b": 2, "c c c": 3}


@pytest.mark.parametrize("packed", [False, True])
def test_standard_input(tmp_path, packed):
    code = (
        "from ie_store.corpus.make import make_corpus\n"
        "class Bytes:\n"
        "    encode = staticmethod(lambda text: list(text.encode()))\n"
        "    decode = staticmethod(lambda tokens: bytes(tokens).decode())\n"
        "print(make_corpus('text:-?length=3', tokenizer=Bytes(), vocab_size=256).tokens.tolist())\n"
    )
    given = gzip.compress(b"abcd\nabc\n", mtime=0) if packed else b"abcd\nabc\n"
    run = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, check=True)
    assert run.stdout.decode().strip() == "[[97, 98, 99], [97, 98, 99]]"


def test_jsonl_with_labels(words, tmp_path):
    records = [{"text": "b b b", "who": "model"}, {"text": None, "who": "x"}, {"text": "a a a. A a a.", "who": "human"}]
    (tmp_path / "a.jsonl").write_text("\n\n".join(json.dumps(record) for record in records))
    corpus = make_corpus(f"jsonl:{tmp_path}/a.jsonl#text?length=3&label=who", tokenizer=words, vocab_size=99)
    found = zip(texts(words, corpus), corpus.labels["who"].tolist(), corpus.source_row.tolist(), strict=True)
    assert set(found) == {("b b b", "model", 0), ("a a a", "human", 2), ("A a a", "human", 2)}
    assert corpus.labels["who"].dtype.kind == "U"
    assert corpus.spec.dropped == (("null text", 1),)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_parquet_equals_jsonl(words, tmp_path, suffix):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"body": ["b b b", None, "a a a"], "score": [1.5, 2.5, 3.5], "flag": [True, False, True]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    if suffix:
        (tmp_path / "a.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes(), mtime=0))
    lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    for label, values in (("score", {1.5, 3.5}), ("flag", {True})):
        options = f"#body?length=3&label={label}"
        one = make_corpus(f"parquet:{tmp_path}/a.parquet{suffix}{options}", tokenizer=words, vocab_size=99)
        other = make_corpus(f"jsonl:{tmp_path}/a.jsonl{options}", tokenizer=words, vocab_size=99)
        assert one.spec.fingerprint == other.spec.fingerprint
        assert set(one.labels[label].tolist()) == values


def test_a_hub_data_set_through_a_local_folder(words, tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    folder = tmp_path / "tales"
    folder.mkdir()
    parquet.write_table(pyarrow.table({"text": ["b b b", "a a a"], "who": ["x", "yy"]}), folder / "train.parquet")
    corpus = make_corpus(f"hf:{folder}#text?length=3&label=who", tokenizer=words, vocab_size=99)
    assert sorted(zip(texts(words, corpus), corpus.labels["who"].tolist(), strict=True)) == [("a a a", "yy"), ("b b b", "x")]
    assert corpus.spec.recipe.startswith("hf:tales#text?config=&label=who&length=3")
    for options, message in (
        ("#text?split=nope", "cannot be loaded"),
        ("#body", "has no column 'body'; it has: 'text', 'who'"),
        ("#text?label=w", "has no column 'w'"),
    ):
        with pytest.raises(InputError, match=message):
            make_corpus(f"hf:{folder}{options}", tokenizer=words, vocab_size=99)
    with pytest.raises(InputError, match="cannot be loaded"):
        make_corpus(f"hf:{tmp_path}/nowhere#text", tokenizer=words, vocab_size=99)


BROKEN = [
    ("text", "a.txt", b"", "the source is empty"),
    ("text", "a.txt", b"one two\n\n", "1 x empty text, 1 x sentence shorter than 3"),
    ("text", "a.txt", b"\xff\xfe\x00", "not UTF-8"),
    ("text", "a.gz", gzip.compress(b"one two three", mtime=0)[:-9], "cannot be read"),
    ("text", "a.gz", b"\x1f\x8bnonsense", "cannot be read"),
    ("jsonl", "a.jsonl#t", b'{"t": "a b c"}\n{"t": \n', "line 2 is not JSON"),
    ("jsonl", "a.jsonl#t", b"[1]\n", "line 1 holds a list"),
    ("jsonl", "a.jsonl#t", b'{"u": "a", "v": 1}', "line 1 has no field 't'; it has: 'u', 'v'"),
    ("jsonl", "a.jsonl#t", b'{"t": 5}', "holds a int, not text"),
    ("parquet", "a.parquet#t", b"PAR1 but not really PAR1", "cannot be read as a Parquet"),
    ("parquet", "a.parquet#t", b"", "cannot be read as a Parquet"),
]


@pytest.mark.parametrize(("kind", "name", "content", "message"), BROKEN)
def test_broken_files_are_refused_with_their_place(words, tmp_path, kind, name, content, message):
    (tmp_path / name.partition("#")[0]).write_bytes(content)
    with pytest.raises(InputError, match=message):
        make_corpus(f"{kind}:{tmp_path}/{name}?length=3", tokenizer=words, vocab_size=99)


def test_parquet_without_the_column_or_without_text(words, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"a": [1, 2], "b": ["x", "y"]}), tmp_path / "a.parquet")
    for column, message in (("c", "has no column 'c'; it has: 'a', 'b'"), ("a", "row 0 holds a int, not text")):
        with pytest.raises(InputError, match=message):
            make_corpus(f"parquet:{tmp_path}/a.parquet#{column}", tokenizer=words, vocab_size=99)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["x", 1], "holds int, str"),
        (["x", None], "holds null, str"),
        ([[1], [2]], "holds list"),
        ([2**70, 1], "64 bits"),
        ([2**2000, 1.5], "64 bits"),
        (["x" * 2000, "y"], "2000 characters"),
    ],
)
def test_labels_that_cannot_be_stored_are_refused(words, tmp_path, labels, message):
    lines = [json.dumps({"t": "a b c", "who": label}) for label in labels]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with pytest.raises(InputError, match=message):
        make_corpus(f"jsonl:{tmp_path}/a.jsonl#t?length=3&label=who", tokenizer=words, vocab_size=99)


def test_a_label_bears_a_name_that_an_array_can_have(words, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"t": "a b c", "is it human?": 2}))
    corpus = make_corpus(f"jsonl:{tmp_path}/a.jsonl#t?length=3&label=is it human%3F", tokenizer=words, vocab_size=99)
    assert {name: values.tolist() for name, values in corpus.labels.items()} == {"is_it_human_": [2]}


def test_a_sample_of_windows_is_a_subset_and_follows_its_seed(words, tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(f"a{i} b{i} c{i}" for i in range(40)))
    recipe = f"text:{tmp_path}/a.txt?length=3"
    every = make_corpus(recipe, tokenizer=words, vocab_size=999)
    draws = [make_corpus(recipe, tokenizer=words, vocab_size=999, num_sequences=10, seed=seed) for seed in (0, 0, 1)]
    assert draws[0].spec.fingerprint == draws[1].spec.fingerprint != draws[2].spec.fingerprint
    for draw in draws:
        assert np.isin(draw.source_row, every.source_row).all()
        assert len(np.unique(draw.source_row)) == 10
        assert draw.spec.dropped == (("not drawn into the sample", 30),)


def test_a_text_recipe_needs_a_tokenizer_and_ids_within_the_vocabulary(words, tmp_path):
    (tmp_path / "a.txt").write_text("a b c d")
    with pytest.raises(InputError, match="needs a tokenizer"):
        make_corpus(f"text:{tmp_path}/a.txt?length=3", tokenizer=None, vocab_size=9)
    with pytest.raises(InputError, match="token id 2 at position 2 of source row 0"):
        make_corpus(f"text:{tmp_path}/a.txt?length=3", tokenizer=words, vocab_size=2)


def test_half_a_character_is_refused_with_its_line(words, tmp_path):
    path = tmp_path / "cut.jsonl"
    path.write_text('{"text": "all of it"}\n{"text": "ok \\ud83d"}\n')
    with pytest.raises(InputError, match=r"cut.jsonl, line 2, field 'text' holds half of a character"):
        make_corpus(f"jsonl:{path}#text?length=1", tokenizer=words, vocab_size=99)


def test_a_long_name_is_cut_and_stays_its_own():
    made, other = (corpus_name(f"text:{letter * 60}.txt?length=3") for letter in "\u4e2d\u4e3d")
    assert len(made) <= 160
    assert made != other
    assert corpus_name("text:short.txt?length=3").startswith("short")
