import pytest

from ie_store.corpus.make import corpus_name, make_corpus
from ie_store.corpus.recipe import parse_recipe
from ie_store.errors import InputError


def test_a_recipe_is_taken_apart():
    recipe = parse_recipe("jsonl:a%3F.jsonl,b/*.gz#the%26text?length=16&label=who%3F")
    assert (recipe.kind, recipe.source, recipe.column) == ("jsonl", "a%3F.jsonl,b/*.gz", "the&text")
    assert recipe.options == {"length": "16", "label": "who?"}


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("", "KIND:SOURCE"),
        ("country", "KIND:SOURCE"),
        ("csv:a.csv", "choose one of: icl, text"),
        ("text:", "names no source"),
        ("text:a.txt#body", "has no columns"),
        ("jsonl:a.jsonl", "which column"),
        ("parquet:a.parquet#", "which column"),
        ("text:a.txt?", "not option=value"),
        ("text:a.txt?length", "not option=value"),
        ("text:a.txt?=8", "not option=value"),
        ("text:a.txt?length=8&length=9", "'length' twice"),
        ("text:a.txt?lenght=8", "'lenght', did you mean 'length'; it knows: num_sequences, seed, length, windows"),
        ("text:a.txt?label=x", "knows no option 'label'"),
        ("text:a.txt?length=0", "length is 0; it must be at least 1"),
        ("text:a.txt?windows=some", "starts, all"),
        ("text:a.txt?num_sequences=0", "at least 1"),
        ("text:a.txt?num_sequences=few", "whole number"),
        ("text:a.txt?seed=-1", "seed is -1"),
        ("tokens:a.npy?complete=yes", "true, false"),
    ],
)
def test_nonsense_is_refused_with_its_mend(recipe, message):
    with pytest.raises(InputError, match=message):
        corpus_name(recipe)
    with pytest.raises(InputError, match=message):
        make_corpus(recipe, tokenizer=None, vocab_size=10)


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        ("icl:country", "country"),
        ("icl:country?names=25&shots=4", "country"),
        ("icl:country?names=10", "country-names10"),
        ("icl:animal?separator=;&num_sequences=100&seed=3", "animal-num_sequences100-seed3-separator_3b"),
        ("text:/some/where/book.txt.gz?windows=all", "book-windowsall"),
        ("text:a.txt,b.txt,c.txt", "a-and-2-more"),
        ("text:parts/*.txt", "all"),
        ("text:-", "stdin"),
        ("text:.txt", "text"),
        ("jsonl:essays.jsonl#text?label=author", "essays-text-labelauthor"),
        ("hf:org/tales#text?split=test", "tales-text-splittest"),
        ("tokens:ids.npy?complete=true", "ids-completetrue"),
    ],
)
def test_the_name_tells_the_source_and_what_is_not_default(recipe, name):
    assert sorted(corpus_name(recipe).split("-")) == sorted(name.split("-"))


def test_a_sample_asked_for_beside_the_recipe_is_in_the_name():
    assert corpus_name("icl:country", num_sequences=50, seed=2) == corpus_name("icl:country?num_sequences=50&seed=2")
    assert corpus_name("icl:country", seed=2) == "country"


def test_the_normal_form_parses_to_itself(words, tmp_path):
    file = tmp_path / "odd name,50%?.txt"
    file.write_text("One two three four.\n")
    asked = f"text:{tmp_path}/odd name%2C50%25%3F.txt?length=3&num_sequences=1&seed=5"
    corpus = make_corpus(asked, tokenizer=words, vocab_size=99)
    assert corpus.spec.recipe == "text:odd name%2C50%25%3F.txt?length=3&num_sequences=1&seed=5&windows=starts"
    again = parse_recipe(corpus.spec.recipe)
    assert again.options == {"length": "3", "num_sequences": "1", "seed": "5", "windows": "starts"}


def test_identity_does_not_depend_on_the_folder(words, tmp_path):
    specs = []
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("One two three four five six seven eight.\n")
        specs.append(make_corpus(f"text:{tmp_path / folder}/a.txt", tokenizer=words, vocab_size=99).spec)
    assert specs[0] == specs[1]
