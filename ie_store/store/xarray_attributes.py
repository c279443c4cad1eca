"""Attributes of what our readers return: numbers and texts, which every file format of xarray's takes."""

import json
from typing import Any


def plain_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """JSON values as attributes: true and false as 1 and 0, objects and lists as their JSON text; null is left out."""
    return {name: _plain(value) for name, value in attributes.items() if value is not None}


def _plain(value: Any) -> str | int | float:
    if isinstance(value, bool):
        return int(value)
    return value if isinstance(value, str | int | float) else json.dumps(value)
