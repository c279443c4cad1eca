"""Variables of a user's own, a line each, and how to open them."""

from typing import Any

from .text import say, tell


def own_variables(found: list[dict[str, Any]], store: str, name: str) -> None:
    """Name, dimensions, unit and lineage of each (an object of ``show --json``); nothing where there are none."""
    if not found:
        return
    say((f"Variables of your own, in ie_store.open_estimates({store!r}, {name!r}):", "bold"))
    for one in found:
        tell(f"  {line(one)}")


def line(one: dict[str, Any]) -> str:
    """``['norm'].mean_norm (layer, position), unit 1, from macro states: mean norm``."""
    unit = f", unit {one['units']}" if one["units"] else ""
    lineage = f", from {one['lineage']}" if one["lineage"] else ""
    meaning = f": {one['long_name']}" if one["long_name"] not in (None, one["variable"]) else ""
    return f"[{one['node']!r}].{one['variable']} ({', '.join(one['dimensions'])}){unit}{lineage}{meaning}"
