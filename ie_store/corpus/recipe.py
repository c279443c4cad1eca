"""Recipes: the one string that names a corpus, taken apart and written out again.

    KIND:SOURCE[#COLUMN][?option=value&option=value]        text:a.txt,b/*.gz?length=16&windows=all

Values and file names may be percent-encoded, which is how they hold the characters that part a recipe:
``%3F`` for ``?``, ``%23`` for ``#``, ``%26`` for ``&``, ``%2C`` for a comma inside a file name.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints
from urllib.parse import quote, unquote

from ie_store.errors import InputError
from ie_store.fields import require_choice, suggestion

Kind = Literal["icl", "text", "jsonl", "parquet", "hf", "tokens"]
WITH_COLUMN = ("jsonl", "parquet", "hf")
"""Kinds whose source has columns, one of which holds the text."""

EXAMPLES = "'icl:country?names=10', 'text:FILE?length=8', 'jsonl:FILE#field', 'parquet:FILE#column' or 'tokens:FILE.npy'"

Options = TypeVar("Options")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe taken apart; its options are still text."""

    kind: Kind
    source: str
    """Name of a built-in list (icl), files (text, jsonl, parquet, tokens) or data set (hf), still percent-encoded."""
    column: str
    """Column of the text, empty for kinds that have none."""
    options: dict[str, str]

    def __str__(self) -> str:
        column = f"#{quote(self.column, safe=' ')}" if self.column else ""
        return f"{self.kind}:{self.source}{column}"


def parse_recipe(text: str) -> Recipe:
    """Take a recipe apart; which options its kind knows is checked by `read_options`.

    Raises:
        InputError: no kind, no source, a column missing or out of place, or an option that is not ``name=value``.
    """
    head, mark, tail = text.partition("?")
    kind, colon, rest = head.partition(":")
    if not colon:
        raise InputError(f"corpus {text!r} is not KIND:SOURCE; write for example {EXAMPLES}")
    require_choice(f"corpus {text!r}: kind", kind, Kind)
    source, _, column = rest.partition("#")
    if not source:
        raise InputError(f"corpus {text!r} names no source after {kind + ':'!r}; write for example {EXAMPLES}")
    if kind in WITH_COLUMN and not column:
        raise InputError(f"corpus {text!r} does not say which column holds the text; write '{kind}:{source}#COLUMN'")
    if column and kind not in WITH_COLUMN:
        raise InputError(f"corpus {text!r}: {kind!r} has no columns, drop '#{column}' (a '#' in a file name is written %23)")
    options = _split_options(text, tail) if mark else {}
    return Recipe(kind=cast(Kind, kind), source=source, column=unquote(column), options=options)


def _split_options(text: str, tail: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in tail.split("&"):
        name, equals, value = part.partition("=")
        if not name or not equals:
            raise InputError(f"corpus {text!r}: {part!r} is not option=value; options follow '?' and are parted by '&'")
        if name in options:
            raise InputError(f"corpus {text!r} gives option {name!r} twice")
        options[name] = unquote(value)
    return options


def read_options(recipe: Recipe, options: type[Options], defaults: dict[str, str]) -> Options:
    """The recipe's options as an instance of the dataclass ``options``; ``defaults`` stand where the recipe is silent.

    Raises:
        InputError: an option this kind does not know, or a value that cannot be read as its type.
    """
    hints = get_type_hints(options)
    known = list(hints)
    unknown = [name for name in recipe.options if name not in known]
    if unknown:
        close = suggestion(unknown[0], known)
        raise InputError(f"corpus {str(recipe)!r} knows no option {unknown[0]!r}{close}; it knows: {', '.join(known)}")
    given = defaults | recipe.options
    try:
        return options(**{name: _read_value(name, text, hints[name]) for name, text in given.items()})
    except InputError as error:
        raise InputError(f"corpus {str(recipe)!r}: {error}") from None


def _read_value(name: str, text: str, hint: Any) -> Any:
    if get_origin(hint) is Literal:
        require_choice(name, text, hint)
        return text
    if hint is str:
        return text
    if hint is bool:
        require_choice(name, text, Literal["true", "false"])
        return text == "true"
    if type(None) in get_args(hint) and text == "all":
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{name} is {text!r}; it must be a whole number") from None


def write_recipe(recipe: Recipe, source: str, options: Any) -> str:
    """The recipe with every option written out, `source` (percent-encoded) standing for the files on this machine.

    The seed is left out where nothing is sampled: it would change the name and nothing else.
    """
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    if values["num_sequences"] is None:
        del values["seed"]
    named = Recipe(kind=recipe.kind, source=source, column=recipe.column, options={})
    return f"{named}?" + "&".join(f"{name}={_write_value(value)}" for name, value in sorted(values.items()))


def _write_value(value: Any) -> str:
    if value is None:
        return "all"
    if isinstance(value, bool):
        return str(value).lower()
    return quote(str(value), safe=" ,;:/|")
