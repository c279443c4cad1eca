"""JSON values as the typed values that a dataclass's annotations ask for: the one parser of what strangers may have written.

A value that does not fit raises `Malformed`, which says where it stands, what was found and what is expected.
"""

import base64
import math
import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from reprlib import Repr
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ie_store.errors import InputError

LONGEST_TEXT = 2**16
"""Characters of one text; recipes and reasons are the longest that we write."""
MOST_ITEMS = 2**20
"""Entries of one list or object."""
_brief = Repr()
_brief.maxstring = _brief.maxother = 60


class Malformed(ValueError):
    """A value that is not what it should be."""

    def __init__(self, path: str, found: Any, expected: str) -> None:
        super().__init__(f"{path or 'the whole'} is {_brief.repr(found)}; {expected} is expected")


def parse(hint: Any, value: Any, path: str = "") -> Any:
    """``value`` as ``hint``: a dataclass, a plain type, `Literal`, a union, ``tuple[...]``, ``dict[str, ...]`` or `Any`.

    Raises:
        Malformed: the value, or one inside it, does not fit.
    """
    return _parser(hint)(hint, value, path)


@cache
def _parser(hint: Any) -> Callable[[Any, Any, str], Any]:
    """The function that parses values of a hint: found once, since documents have thousands of values."""
    if hint is Any:
        return lambda hint, value, path: value
    if is_dataclass(hint):
        return _parse_fields
    known = {Literal: _parse_literal, types.UnionType: _parse_union, Union: _parse_union, tuple: _parse_tuple, dict: _parse_dict}
    return known.get(get_origin(hint), _parse_plain)


def _parse_literal(hint: Any, value: Any, path: str) -> Any:
    return _require(value, any(value == known and type(value) is type(known) for known in get_args(hint)), path, hint)


def _parse_dict(hint: Any, value: Any, path: str) -> dict[str, Any]:
    _require(value, isinstance(value, dict) and len(value) <= MOST_ITEMS, path, "an object")
    return {key: parse(get_args(hint)[1], item, _join(path, key)) for key, item in value.items()}


def _parse_plain(hint: Any, value: Any, path: str) -> Any:
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(_require(value, _is_finite(value), path, "a finite number"))
    if hint is str:
        return _require(value, isinstance(value, str) and len(value) <= LONGEST_TEXT, path, f"a text of at most {LONGEST_TEXT:,}")
    if hint is int:
        return _require(value, type(value) is int and abs(value) < 2**63, path, "a 64-bit integer")
    if hint is bytes:
        return _parse_bytes(value, path)
    if hint in (bool, float, type(None)):
        return _require(value, type(value) is hint, path, f"a {hint.__name__}")
    raise TypeError(f"no parser for {hint}")


def _parse_bytes(value: Any, path: str) -> bytes:
    try:
        return base64.b64decode(_require(value, isinstance(value, str), path, "a text in base64"), validate=True)
    except ValueError as error:
        raise Malformed(path, value, "a text in base64") from error


def encode_bytes(value: Any) -> str:
    """Bytes as JSON has them: base64; for `json.dumps`."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _require(value: Any, fits: bool, path: str, expected: Any) -> Any:
    if not fits:
        options = get_args(expected) if get_origin(expected) is Literal else ()
        raise Malformed(path, value, f"one of {', '.join(map(repr, options))}" if options else str(expected))
    return value


def _parse_union(hint: Any, value: Any, path: str) -> Any:
    if value is None and type(None) in get_args(hint):
        return None
    others = [member for member in get_args(hint) if member is not type(None)]
    if len(others) != 1:
        raise TypeError(f"no parser for {hint}")
    return parse(others[0], value, path)


def _parse_tuple(hint: Any, value: Any, path: str) -> tuple[Any, ...]:
    members = get_args(hint)
    _require(value, isinstance(value, list | tuple) and len(value) <= MOST_ITEMS, path, "a list")
    if members[-1] is Ellipsis:
        members = (members[0],) * len(value)
    _require(value, len(value) == len(members), path, f"a list of {len(members)}")
    return tuple(parse(member, item, f"{path}[{i}]") for i, (member, item) in enumerate(zip(members, value, strict=True)))


def _parse_fields(model: Any, value: Any, path: str) -> Any:
    _require(value, isinstance(value, dict), path, "an object")
    hints = _hints(model)
    if lacking := sorted(hints.keys() - value.keys()):
        raise Malformed(path, value, f"an object with {', '.join(lacking)}")
    if strange := sorted(value.keys() - hints.keys()):
        raise Malformed(_join(path, strange[0]), value[strange[0]], f"no such field: only {', '.join(hints)}")
    values = {name: parse(hint, value[name], _join(path, name)) for name, hint in hints.items()}
    try:
        return model(**values)
    except (InputError, ValueError) as error:  # what a dataclass refuses by itself
        raise Malformed(path, "a set of values that contradict each other", str(error)) from error


@cache
def _hints(model: type) -> dict[str, Any]:
    hints = get_type_hints(model)
    return {item.name: hints[item.name] for item in fields(model)}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
