"""Some of what is known of a dataset: chosen by estimator, block and position, sorted, and as lines for tables of others."""

from collections.abc import Iterable, Sequence
from typing import Any

from ie_store.errors import InputError
from ie_store.estimators import NAMES
from ie_store.fields import require_known
from ie_store.grid import parse_selection
from ie_store.store.results.told_apart import Entry, told_apart

_LEFT_OUT = ("options", "curve_nats")


def chosen(
    shown: dict[str, Any], estimators: Sequence[str] = (), blocks: str = "all", positions: str = "all", sort: str = ""
) -> dict[str, Any]:
    """What `show_results` or `show_against` returned, with those of its estimates alone that are asked for.

    Args:
        shown: the object.
        estimators: names; none means all, and a user's own variables.
        blocks: a selection such as ``0,9-12,last``.
        positions: likewise.
        sort: an estimator by whose falling macro value the estimates stand, place by place; by block and position without it.

    Raises:
        InputError: an estimator that does not exist, a selection beyond what was estimated, or nothing left.
    """
    entries: list[Entry] = shown["estimates"]
    for name in (*estimators, *([sort] if sort else [])):
        require_known("estimator", name, NAMES)
    if not entries:
        return shown
    sizes = {what: 1 + max(entry[what] for entry in entries) for what in ("block", "position")}
    wanted = {
        "block": parse_selection(blocks, sizes["block"], "blocks"),
        "position": parse_selection(positions, sizes["position"], "positions"),
        "estimator": tuple(estimators) or NAMES,
    }
    left = [entry for entry in entries if all(entry[what] in found for what, found in wanted.items())]
    if not left:
        found = ", ".join(dict.fromkeys(entry["estimator"] for entry in entries))
        raise InputError(f"no estimates are left by this choice; there are some of: {found}; ie-store show --all lists them")
    left = _sorted(left, sort) if sort else left
    kept = shown | ({"derived": []} if estimators and "derived" in shown else {})
    return kept | {"estimates": left} | ({"told_apart": told_apart(left)} if "told_apart" in shown else {})


def _sorted(entries: list[Entry], name: str) -> list[Entry]:
    """By falling macro value of an estimator at their place; what has none there comes last."""
    values = {
        (entry["position"], entry["block"]): entry["macro_nats"]
        for entry in entries
        if entry["estimator"] == name and entry["macro_nats"] is not None
    }
    if not values:
        raise InputError(f"nothing to sort by: {name} has no values among what is shown")
    return sorted(entries, key=lambda entry: -values.get((entry["position"], entry["block"]), float("-inf")))


def as_rows(entries: Iterable[Entry]) -> tuple[list[str], list[list[Any]]]:
    """Headings and lines of plain values: ends of intervals apart, flags in one text, None where a value is unknown."""
    flat = [dict(_flattened(entry)) for entry in entries]
    headings = list(dict.fromkeys(name for row in flat for name in row))
    return headings, [[row.get(name) for name in headings] for row in flat]


def _flattened(entry: Entry) -> Iterable[tuple[str, Any]]:
    for name, value in entry.items():
        if name.endswith("interval_nats"):
            low, high = value or (None, None)
            yield from ((name.replace("interval", end), found) for end, found in (("low", low), ("high", high)))
        elif name not in _LEFT_OUT:
            yield name, "; ".join(value) if isinstance(value, list) else value
