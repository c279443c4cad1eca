"""What a method is called where several of one name stand beside each other: its name, and the options that tell it apart."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ie_store.estimators import ESTIMATORS
from ie_store.printable import printable
from ie_store.profiles import PROFILES

SHOWN_OPTIONS = ("sigma",)
"""Options that stand beside a name even where they have their default."""
_ROWS: dict[str, tuple[int | None, type[Any] | None]] = {
    **{row.name: (row.version, row.options) for row in ESTIMATORS},
    **{row.name: (row.version, row.options) for row in PROFILES},
}


def method_label(method: Mapping[str, Any]) -> str:
    """``noise (tolerance 0.069, sigma 4)``: a method's name, and the options by which it differs from what is usual."""
    name = str(method["name"])
    version, options = _ROWS.get(name, (1, None))
    if options is None:
        told = [option for option in method if option not in ("name", "version")]
    else:
        usual = {item.name: item.default for item in fields(options)}
        told = [option for option, value in method.items() if option in usual and not _equal(value, usual[option])]
        told += [option for option in SHOWN_OPTIONS if option not in told and option in method]
    versions = [f"version {found}"] if (found := method.get("version", version)) != version else []
    shown = ", ".join([*versions, *(f"{option} {shown_value(method[option])}" for option in told)])
    return printable(f"{name} ({shown})" if shown else name)


def is_usual(method: Mapping[str, Any]) -> bool:
    """True where a method of the tables has the version of today and no option but its default."""
    version, options = _ROWS.get(str(method["name"]), (None, None))
    if options is None or method.get("version") != version:
        return False
    return all(_equal(method.get(item.name), item.default) for item in fields(options))


def shown_value(value: Any) -> str:
    """The value of an option as people write it."""
    if isinstance(value, list | tuple):
        return ",".join(map(shown_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _equal(value: Any, usual: Any) -> bool:
    return bool(
        (list(value) if isinstance(value, list | tuple) else value) == (list(usual) if isinstance(usual, tuple) else usual)
    )
