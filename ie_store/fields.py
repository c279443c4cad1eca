"""Fields of specs: a default with its help text, and the checks of a value. Imports `errors` alone."""

import re
from collections.abc import Iterable
from dataclasses import field, fields
from difflib import get_close_matches
from typing import Any, get_args

from ie_store.errors import InputError


def described(default: Any, text: str) -> Any:
    """A dataclass field with a default and the help text that documents it and its command-line option."""
    return field(default=default, metadata={"help": text})


def field_help(spec: type, name: str) -> str:
    """The help text of field ``name`` of a spec class."""
    return str({f.name: f.metadata.get("help", "") for f in fields(spec)}[name])


def require_choice(name: str, value: str, choices: Any) -> None:
    """Raise `InputError` unless ``value`` is one of the literals of type ``choices``."""
    require_known(name, value, get_args(choices))


def require_known(name: str, value: str, known: Iterable[str]) -> None:
    """Raise `InputError` unless ``value`` is one of the ``known`` names."""
    known = tuple(known)
    if value not in known:
        raise InputError(f"{name} {value!r} is not known{suggestion(value, known)}; choose one of: {', '.join(known)}")


def suggestion(value: str, known: Iterable[str]) -> str:
    """``, did you mean 'mine'?`` where one of the known names is close to ``value``, else nothing."""
    close = get_close_matches(str(value), list(known), n=1)
    return f", did you mean {close[0]!r}" if close else ""


def require_at_least(name: str, value: float, least: float) -> None:
    """Raise `InputError` unless ``value >= least`` (NaN fails too)."""
    if not value >= least:
        raise InputError(f"{name} is {value}; it must be at least {least}")


def keep_as_declared(options: Any) -> None:
    """Make fields of ``options``, checked before, what their annotations say: 4 is 4.0 where a float is meant, a list a tuple.

    So options that are equal have one digest.
    """
    for one in fields(options):
        value = getattr(options, one.name)
        if one.type is float:
            object.__setattr__(options, one.name, float(value))
        elif one.type == tuple[float, ...]:
            object.__setattr__(options, one.name, tuple(map(float, value)))


_DURATION = re.compile(r"(?:(?P<hours>[0-9.]+)h)?(?:(?P<minutes>[0-9.]+)m)?(?:(?P<seconds>[0-9.]+)s)?")


def parse_duration(name: str, text: str) -> float:
    """Seconds of a duration such as ``90s``, ``30m``, ``2h`` or ``1h30m``.

    Raises:
        InputError: it is none, or not more than 0.
    """
    found = _DURATION.fullmatch(text.strip())
    try:
        parts = {unit: float(number) for unit, number in (found.groupdict() if found else {}).items() if number}
    except ValueError:
        parts = {}
    seconds = sum(number * {"hours": 3600, "minutes": 60, "seconds": 1}[unit] for unit, number in parts.items())
    if seconds <= 0:
        raise InputError(f"{name} is {text!r}; it must be a time above 0 with its unit, for example 90s, 30m, 2h or 1h30m")
    return seconds


_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?) ?(?P<unit>(?:[kKMGT]i?)?)B?")


def parse_size(name: str, text: str) -> int:
    """Bytes of a size such as ``800MB``, ``1.5GB`` or ``4GiB``: units of 1,000, or with an i of 1,024.

    Raises:
        InputError: it is none, or not at least a byte.
    """
    found = _SIZE.fullmatch(text.strip())
    unit = found["unit"].upper() if found else ""
    base, power = (1024 if unit.endswith("I") else 1000), " KMGT".index(unit[:1] or " ")
    num_bytes = int(float(found["number"]) * base**power) if found else 0
    if num_bytes < 1:
        raise InputError(f"{name} is {text!r}; it must be a size with its unit, for example 800MB, 1.5GB or 4GiB")
    return num_bytes


MOST_SEED = 2**63 - 1
"""Seeds fit into 64 bits with a sign, wherever they are stored."""


def require_whole(name: str, value: Any, least: int) -> None:
    """Raise `InputError` unless ``value`` is a whole number >= ``least``."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{name} is {value!r}; it must be a whole number, at least {least}")
    require_at_least(name, value, least)


def require_seed(seed: Any, count: int = 1) -> None:
    """Raise `InputError` unless ``count`` seeds from ``seed`` on are whole numbers from 0 to `MOST_SEED`."""
    most = MOST_SEED - count + 1
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= most:
        raise InputError(f"seed is {seed!r}; it must be a whole number from 0 to {most}")


def is_number(value: Any) -> bool:
    """True for an integer or a float."""
    return isinstance(value, int | float) and not isinstance(value, bool)
