"""Values for pictures: rows in bits with their interval as text, and what was asked for found or refused."""

from math import isnan
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ie_store.errors import InputError
from ie_store.estimators import EXACT, NAMES
from ie_store.specs import NATS_PER_BIT, Outcome
from ie_store.store.results.open_estimates import Estimates

NO_OUTCOME = "not stored"
"""Outcome of a value that has none in the store: that of the last layer, in results from before its outcome was kept."""
READABLE = tuple(outcome.value for outcome in Outcome if not outcome.flagged)
DIGITS = 5
MOST_CELLS = 4500
"""Marks of one picture: altair refuses more than 5,000 rows."""


def estimators_of(estimates: Estimates) -> list[str]:
    """Nodes of estimators that have macro values, exact left out: a run that goes on, or was stopped, may have none yet."""
    return _with_values(estimates, "mi_macro")


def emerging(estimates: Estimates) -> list[str]:
    """Nodes of estimators that have emergences, exact left out."""
    return _with_values(estimates, "ie")


def _with_values(estimates: Estimates, variable: str) -> list[str]:
    return [
        name
        for name, node in estimates.children.items()
        if estimator_of(node) in NAMES
        and estimator_of(node) != EXACT
        and variable in node.data_vars
        and bool(node[variable].notnull().any())
    ]


def estimator_of(node: Any) -> str:
    """Name of the estimator or profile that made a node."""
    return str(node.attrs["results"]).rpartition("-")[0]


def label_of(estimates: Estimates, name: str) -> str:
    """What the legend calls a node: its name with the options that matter, as tables have it."""
    label = str(estimates[name].attrs["label"])
    return label if [node.attrs["label"] for node in estimates.children.values()].count(label) == 1 else name


def node_with(estimates: Estimates, variable: str, wanted: str | None, run: str) -> tuple[str, xr.Dataset]:
    """The node called ``wanted``, or the first one, that has ``variable``.

    Raises:
        InputError: there is none; the message says which command makes one.
    """
    having = [name for name, node in estimates.children.items() if variable in node.data_vars]
    if wanted is not None and wanted not in having:
        raise InputError(f"{wanted!r} has no {variable} in {estimates.attrs['name']}; choose from: {', '.join(having) or 'none'}")
    if not having:
        raise InputError(f"{estimates.attrs['name']} has no {variable}; it comes with: ie-store {run}")
    name = wanted or having[0]
    return name, estimates[name].to_dataset()


def position_of(values: xr.DataArray, position: int | None) -> int:
    """The position asked for, or the last one with a value.

    Raises:
        InputError: nothing is known there.
    """
    known = known_positions(values)
    if not known or (position is not None and position not in known):
        raise InputError(
            f"{values.name} has no values at position {position}; it has some at: {', '.join(map(str, known)) or '-'}"
        )
    return known[-1] if position is None else position


def known_positions(values: xr.DataArray) -> list[int]:
    """Positions with a value."""
    return [int(at) for at in values.position.values if bool(values.sel(position=at).notnull().any())]


def rows_of(estimates: Estimates, name: str, *dimensions: str) -> pd.DataFrame:
    """The table of a node, see `Estimates.to_dataframe`."""
    return estimates.children[name].to_dataframe(*dimensions)


def bits(nats: Any) -> Any:
    """Nats (number or array) as bits."""
    return np.asarray(nats, dtype=float) / NATS_PER_BIT


def tabled(rows: Any) -> pd.DataFrame:
    """A table of rows that have ``low`` and ``high``: numbers rounded, and the interval as text."""
    table = pd.DataFrame(rows)
    table["interval"] = [interval_text(low, high) for low, high in zip(table.low, table.high, strict=True)]
    numbers = table.select_dtypes("float").columns
    table[numbers] = table[numbers].round(DIGITS)
    return table


def interval_text(low: float, high: float, digits: int = 2) -> str:
    """``10.53 to 10.67``; empty where there is none."""
    return "" if isnan(low) or isnan(high) else f"{low + 0.0:.{digits}f} to {high + 0.0:.{digits}f}"


def with_runs(table: pd.DataFrame, series: str, over: str) -> pd.DataFrame:
    """The table with ``run``: rows of a series with one number follow each other without a gap, so that a line may join them."""
    breaks = (table[over].diff() != 1) | (table[series] != table[series].shift())
    return table.assign(run=breaks.cumsum())
