"""Texts with their labels, one record after the other: lines, JSON lines, Parquet rows and data sets of a hub."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import unquote

from ie_store.corpus.files import find_files, open_bytes, open_text
from ie_store.corpus.recipe import Recipe
from ie_store.corpus.recipe_options import HubOptions
from ie_store.errors import InputError

_SURROGATE = re.compile("[\ud800-\udfff]")
"""Halves of characters, which JSON can spell and UTF-8 cannot."""
READ_AT_ONCE = 4096
"""Records read together from a columnar source."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One text of a source."""

    number: int
    """Counts records, from 0, through all files of the recipe."""
    text: str | None
    label: Any = None


def read_lines(source: str) -> Iterator[Record]:
    """Each line of text files."""
    numbers = count()
    for path in find_files(source):
        with open_text(path) as lines:
            for line in lines:
                yield Record(number=next(numbers), text=line)


def read_jsonl(source: str, column: str, label: str) -> Iterator[Record]:
    """Field ``column`` (and ``label``) of each line of JSON-lines files; blank lines are passed over.

    Raises:
        InputError: a line that is not a JSON object, a missing field, or a field that is not text.
    """
    numbers = count()
    for path in find_files(source):
        with open_text(path) as lines:
            for line_number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _json_record(line, f"{path}, line {line_number}", column, label, next(numbers))


def _json_record(line: str, where: str, column: str, label: str, number: int) -> Record:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({error}); a .jsonl file holds one JSON object per line") from None
    if not isinstance(value, dict):
        raise InputError(f"{where} holds a {type(value).__name__}, not a JSON object with fields")
    for name in filter(None, (column, label)):
        if name not in value:
            raise InputError(f"{where} has no field {name!r}; it has: {', '.join(map(repr, value))}")
    return _record(number, value[column], value[label] if label else None, f"{where}, field {column!r}")


def read_parquet(source: str, column: str, label: str) -> Iterator[Record]:
    """Column ``column`` (and ``label``) of each row of Parquet files.

    Raises:
        InputError: not a Parquet file, a missing column, a column that is not text, or pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError("Parquet files need the package pyarrow; install it with: pip install 'ie-store[parquet]'") from None
    numbers = count()
    for path in find_files(source):
        with open_bytes(path) as file:
            try:
                content = pyarrow.parquet.ParquetFile(file)
                names = content.schema_arrow.names
                _require_columns(f"Parquet file {path}", names, column, label)
                for batch in content.iter_batches(READ_AT_ONCE, columns=list({column, label or column})):
                    yield from _columnar_records(batch.to_pydict(), f"{path}, column {column!r}", column, label, numbers)
            except pyarrow.ArrowException as error:
                raise InputError(f"{path} cannot be read as a Parquet file: {error}") from None


def read_hub(source: str, column: str, options: HubOptions) -> Iterator[Record]:
    """Column ``column`` (and ``options.label``) of each row of a data set of the hub, or of a local folder of data files.

    Raises:
        InputError: no such data set, configuration, split or column, or the package datasets is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise InputError("hf: recipes need the package datasets; install it with: pip install 'ie-store[hub]'") from None
    name, where = unquote(source), f"data set {unquote(source)}, split {options.split!r}"
    try:
        rows = datasets.load_dataset(name, options.config or None, split=options.split)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:  # Runtime: data sets that are scripts
        raise InputError(f"{where} cannot be loaded: {error}") from None
    _require_columns(where, rows.column_names, column, options.label)
    numbers = count()
    for batch in rows.select_columns(list({column, options.label or column})).iter(READ_AT_ONCE):
        yield from _columnar_records(batch, f"{where}, column {column!r}", column, options.label, numbers)


def _require_columns(where: str, names: list[str], column: str, label: str) -> None:
    for name in filter(None, (column, label)):
        if name not in names:
            raise InputError(f"{where} has no column {name!r}; it has: {', '.join(map(repr, names))}")


def _columnar_records(
    batch: dict[str, list[Any]], where: str, column: str, label: str, numbers: Iterator[int]
) -> Iterator[Record]:
    labels = batch[label] if label else [None] * len(batch[column])
    for text, value in zip(batch[column], labels, strict=True):
        number = next(numbers)
        yield _record(number, text, value, f"{where}, row {number}")


def _record(number: int, text: Any, label: Any, where: str) -> Record:
    if text is not None and not isinstance(text, str):
        raise InputError(f"{where} holds a {type(text).__name__}, not text; name the column that holds the text")
    if text is not None and _SURROGATE.search(text):
        raise InputError(
            f"{where} holds half of a character ({text[:40]!r}); it was cut inside a surrogate pair: mend or drop it"
        )
    return Record(number=number, text=text, label=label)


def read_records(recipe: Recipe, options: Any) -> Iterator[Record]:
    """The records of a text, jsonl, parquet or hf recipe."""
    readers: dict[str, Callable[[], Iterator[Record]]] = {
        "text": lambda: read_lines(recipe.source),
        "jsonl": lambda: read_jsonl(recipe.source, recipe.column, options.label),
        "parquet": lambda: read_parquet(recipe.source, recipe.column, options.label),
        "hf": lambda: read_hub(recipe.source, recipe.column, options),
    }
    return readers[recipe.kind]()
