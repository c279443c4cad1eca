"""Information Emergence over positions, a mark for each block, beside its exact staircase."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import xarray as xr

from ie_store.estimators import EXACT, estimator_row
from ie_store.plot.marks import GREY, layer_color, layer_fill, layered, outcome_fill, outcome_shape, tips, whole_axis
from ie_store.plot.values import MOST_CELLS, bits, emerging, estimator_of, label_of, node_with, rows_of, tabled
from ie_store.store.results.open_estimates import Estimates
from ie_store.store.results.readings import span, thinned

_BAND = 0.8
"""Of a position's width, what its blocks share."""
_DASHES = ([1, 0], [6, 4], [2, 3], [8, 3, 2, 3])


def emergence(estimates: Estimates, estimator: str | None = None) -> alt.LayerChart:
    """E over positions in bits: grey treads for the exact values, and a mark with its interval for each block.

    Within a position blocks stand from left to right. E is positive because it averages the micro terms.

    Args:
        estimates: of one dataset.
        estimator: the node whose values are shown; the one with most values by default, of equally many the one with proven
            intervals, `exact` where there is no other.

    Raises:
        InputError: no such node, or one without emergences.
    """
    name = estimator or max(emerging(estimates), key=lambda one: _worth(estimates, one), default=EXACT)
    table = emergence_table(estimates, name)
    positions = sorted(set(table.position))
    axis = whole_axis(positions, "position")
    scale = alt.Scale(domain=[positions[0] - 0.5, positions[-1] + 0.5], nice=False, zero=False)
    is_exact = "isValid(datum.left)"
    tread = (
        alt.Chart()
        .mark_rule(strokeWidth=2.5, color=GREY)
        .encode(
            x=alt.X("left:Q", axis=axis["axis"], scale=scale), x2="right:Q", y=alt.Y("bits:Q", title="E (bits)"),
            strokeDash=_dash(table), tooltip=tips(table, "blocks", "position", "bits", "outcome"),
        )
        .transform_filter(is_exact)
    )  # fmt: skip
    riser = (
        alt.Chart()
        .mark_line(interpolate="step", strokeWidth=1, color=GREY, opacity=0.6)
        .encode(x=alt.X("position:Q", axis=axis["axis"], scale=scale), y="bits:Q", detail="blocks:N")
        .transform_filter(is_exact)
    )
    if not table.block.notnull().any():
        return layered(table, [riser, tread], f"{estimates.attrs['name']}, exact")
    base = alt.Chart().encode(x=alt.X("at:Q", axis=axis["axis"], scale=scale), color=layer_color("block", legend=None))
    base = base.transform_filter("isValid(datum.block)")
    whisker = base.mark_rule(strokeWidth=1.2, opacity=0.6).encode(y="low:Q", y2="high:Q")
    points = base.mark_point(size=26, strokeWidth=1.3).encode(
        y=alt.Y("bits:Q", title="E (bits)"), shape=outcome_shape(table[table.block.notnull()]), fill=layer_fill("block"),
        fillOpacity=outcome_fill(), tooltip=tips(table, "block", "position", "bits", "interval", "exact", "outcome", "flags"),
    )  # fmt: skip
    title = f"{estimates.attrs['name']}, {label_of(estimates, name)}"
    return layered(table, [riser, tread, whisker, points], title)


def _worth(estimates: Estimates, name: str) -> tuple[int, bool]:
    is_proven = estimator_row(estimator_of(estimates[name])).guarantee == "certified"
    return int(estimates[name]["ie"].count()), is_proven


def _dash(table: pd.DataFrame) -> alt.StrokeDash:
    names = [name for name in dict.fromkeys(table.blocks) if name]
    dashes = [_DASHES[place % len(_DASHES)] for place in range(len(names))]
    legend = alt.Legend(title="exact", orient="bottom", symbolStrokeColor=GREY, symbolType="stroke")
    return alt.StrokeDash("blocks:N", scale=alt.Scale(domain=names[::-1], range=dashes[: len(names)]), legend=legend)


def emergence_table(estimates: Estimates, name: str) -> pd.DataFrame:
    """A row for each exact tread (``blocks``, ``left``, ``right``) and for each emergence (``block``, ``at``), in bits."""
    _, node = node_with(estimates, "ie", name, "estimate")
    found = [] if name == EXACT else rows_of(estimates, name).to_dict("records")
    found = [row for row in found if row["ie"] == row["ie"]]
    exact = estimates[EXACT].to_dataset()["ie"] if EXACT in estimates.children else node.ceiling_ie
    last = max(int(exact.block[-1]), 1)
    known = [int(position) for position in exact.position.values[exact.notnull().any("block").values]]
    kept = set(thinned(sorted({*known, *(row["position"] for row in found)}), max(2, MOST_CELLS // (last + 4))))
    marks = [
        _row(row["position"], row["ie"], row["ceiling_ie"], row["outcome_ie"])
        | {"block": row["block"], "at": row["position"] + _BAND * (row["block"] / last - 0.5)}
        | {"low": bits(row["ie_low"]).item(), "high": bits(row["ie_high"]).item(), "flags": row["flags"]}
        for row in found
    ]
    return tabled([row for row in (*_treads(exact), *marks) if row["position"] in kept])


def _row(position: int, nats: float, exact: float, outcome: str) -> dict[str, Any]:
    unknown = dict.fromkeys(("low", "high", "at", "left", "right", "block"), float("nan"))
    here = {"position": position, "bits": bits(nats).item(), "exact": bits(exact).item(), "outcome": outcome, "flags": ""}
    return here | unknown | {"blocks": ""}


def _treads(exact: xr.DataArray) -> list[dict[str, Any]]:
    """What counting gives, once for all blocks that share it."""
    curves = {int(block): exact.sel(block=block).values for block in exact.block.values}
    shared: dict[bytes, list[int]] = {}
    for block, curve in curves.items():
        shared.setdefault(np.round(curve, 9).tobytes(), []).append(block)
    return [
        _row(int(position), nats, nats, EXACT) | {"blocks": span(blocks), "left": position - 0.5, "right": position + 0.5}
        for blocks in shared.values()
        for position, nats in zip(exact.position.values, curves[blocks[0]], strict=True)
        if nats == nats
    ]
