"""A recipe to a corpus: parse, list, draw, sort. The steps in their order."""

import os
import re
from dataclasses import fields, replace
from pathlib import Path
from urllib.parse import unquote

from ie_store.corpus.files import STDIN, base_names
from ie_store.corpus.icl import list_permutations, resolve_space
from ie_store.corpus.recipe import Recipe, parse_recipe, write_recipe
from ie_store.corpus.recipe_options import read_kind_options
from ie_store.corpus.records import read_records
from ie_store.corpus.rows import Corpus, Tokenizer, draw_rows, sort_rows
from ie_store.corpus.token_file import list_token_files
from ie_store.corpus.token_text import token_strings
from ie_store.corpus.windows import cut_windows
from ie_store.errors import InputError
from ie_store.specs import digest
from ie_store.texts import make_texts

LONGEST_NAME = 160
"""Characters of a name that is made up: file systems take 255 bytes, and locks and scratch files add to it."""
_SUFFIXES = re.compile(r"(\.(txt|jsonl|json|ndjson|parquet|npy|gz))+$")


def make_corpus(
    recipe: str, *, tokenizer: Tokenizer | None, vocab_size: int, num_sequences: int | None = None, seed: int = 0
) -> Corpus:
    """Sorted token rows that a recipe names.

    Args:
        recipe: for example ``icl:country?names=10`` or ``text:FILE?length=8``; its own options win over the arguments.
        tokenizer: the model's; not needed for ``tokens:``.
        vocab_size: token ids lie in 0..vocab_size-1.
        num_sequences: rows to keep, drawn without replacement; all by default.
        seed: seed of that draw.

    Raises:
        InputError: the recipe, one of its options, a file or its content cannot be used as given.
    """
    parsed = parse_recipe(recipe)
    options = read_kind_options(parsed, _argument_options(num_sequences, seed))
    name = corpus_name(recipe, num_sequences=num_sequences, seed=seed)
    if parsed.kind == "tokens":
        listing = list_token_files(parsed.source, options)
    elif tokenizer is None:
        raise InputError(f"corpus {recipe!r} needs a tokenizer and the model has none; give token ids with tokens:FILE.npy")
    elif parsed.kind == "icl":
        options = resolve_space(parsed.source, options, tokenizer)
        listing = list_permutations(parsed.source, options, tokenizer)
    else:
        listing = cut_windows(read_records(parsed, options), options, getattr(options, "label", ""), tokenizer)
    if parsed.kind != "icl":
        listing = draw_rows(listing, options.num_sequences, options.seed)
    written = write_recipe(parsed, _portable_source(parsed), options)
    corpus = sort_rows(listing, recipe=written, name=name, vocab_size=vocab_size)
    if tokenizer is None:
        return corpus
    return replace(corpus, token_texts=make_texts(token_strings(tokenizer, corpus.token_values.tolist())))


def corpus_name(recipe: str, *, num_sequences: int | None = None, seed: int = 0) -> str:
    """Short name of a corpus for a group in the store: its source and every option that is not the default.

    Needs no model and reads no file: ``icl:country?names=10`` is ``country-names10``.

    Raises:
        InputError: the recipe or one of its options cannot be used as given.
    """
    parsed = parse_recipe(recipe)
    asked = read_kind_options(parsed, _argument_options(num_sequences, seed))
    plain = read_kind_options(Recipe(kind=parsed.kind, source=parsed.source, column=parsed.column, options={}))
    sampled = asked.num_sequences is not None
    parts = [_stem(parsed), *([parsed.column] if parsed.column else [])]
    for option in fields(asked):
        value = getattr(asked, option.name)
        if value != getattr(plain, option.name) and (sampled or option.name != "seed"):
            parts.append(f"{option.name}{str(value).lower() if isinstance(value, bool) else value}")
    name = re.sub(r"[^A-Za-z0-9._-]", lambda match: f"_{ord(match.group()):x}", "-".join(parts))
    name = name.lstrip("._-") or parsed.kind
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 9]}-{digest(name)[:8]}"


def _argument_options(num_sequences: int | None, seed: int) -> dict[str, str]:
    return {"num_sequences": "all" if num_sequences is None else str(num_sequences), "seed": str(seed)}


def _stem(recipe: Recipe) -> str:
    first, *more = unquote(recipe.source.split(",")[0]), *recipe.source.split(",")[1:]
    stem = "stdin" if first == STDIN else _SUFFIXES.sub("", Path(first).name).replace("*", "all")
    return f"{stem}-and-{len(more)}-more" if more else stem


def _portable_source(recipe: Recipe) -> str:
    if recipe.kind == "icl":
        return recipe.source
    if recipe.kind == "hf" and not os.path.exists(unquote(recipe.source)):
        return recipe.source
    return base_names(recipe.source)
