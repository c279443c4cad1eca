"""Data of pictures thinned so that a page of many stays small: values are left out evenly along an axis, never changed."""

from math import log

import pandas as pd

from ie_store.store.results.readings import thinned

_AXES = ("position", "token_position", "layer", "block")
"""Columns along which a picture may lose values, first and last never."""
_LOGARITHMIC = "rank"


def thin(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """Rows of a picture's table, about ``most`` at most: fewer values of the axis that has most of them, again and again."""
    while len(table) > most:
        counts = {name: table[name].nunique() for name in (*_AXES, _LOGARITHMIC) if name in table}
        axis = max(counts, key=lambda name: counts[name])
        kept = max(2, counts[axis] * most // len(table))
        if kept >= counts[axis]:
            break
        values = sorted(table[axis].dropna().unique().tolist())
        chosen = _spread(values, kept) if axis == _LOGARITHMIC else thinned(values, kept)
        table = table[table[axis].isin(chosen) | table[axis].isna()].reset_index(drop=True)
    return table


def _spread(values: list[int], most: int) -> list[int]:
    """About ``most`` of ``values``, evenly apart in their logarithms."""
    step = log(values[-1] / values[0]) / (most - 1)
    return [value for place, value in enumerate(values) if place == 0 or value == values[-1] or _cell(values, place, step)]


def _cell(values: list[int], place: int, step: float) -> bool:
    """True for the first value of its stretch of the logarithmic axis."""
    here, before = (int(log(values[at] / values[0]) / step) for at in (place, place - 1))
    return here != before
