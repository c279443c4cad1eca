"""How many dimensions a layer has: by its spectrum, and by its nearest neighbours."""

from typing import Any

import altair as alt
import xarray as xr

from ie_store.errors import InputError
from ie_store.plot.marks import layered, series_colors, tips, whole_axis
from ie_store.plot.values import position_of, tabled
from ie_store.store.results.open_estimates import Estimates

_MEASURES = {
    "effective_rank": "effective rank",
    "effective_rank_without_massive_and_first": "effective rank w/o massive and first",
    "participation_ratio": "participation ratio",
    "two_nn": "intrinsic dimension (TwoNN)",
}
"""Variables over (layer, position), and what the legend calls them."""


def dimensions(estimates: Estimates, position: int | None = None) -> alt.LayerChart:
    """Effective rank, participation ratio and intrinsic dimension over layers; the band is TwoNN's 95% interval.

    Args:
        estimates: of one dataset that `ie-store profile` has described.
        position: the last one with a value by default.

    Raises:
        InputError: no profile there.
    """
    nodes = [node.to_dataset() for node in estimates.children.values()]
    found = {name: node for name in _MEASURES for node in nodes[::-1] if name in node and node[name].notnull().any()}
    if not found:
        raise InputError(f"{estimates.attrs['name']} has no dimensions; they come with: ie-store profile STORE MODEL/CORPUS")
    at = position_of(next(iter(found.values()))[next(iter(found))], position)
    table = tabled([row for name, node in found.items() for row in _rows(node, name, at)])
    names = list(dict.fromkeys(table.measure))
    color, _ = series_colors("measure", names)
    y = alt.Y("value:Q", scale=alt.Scale(type="log"), axis=alt.Axis(title="dimensions"))
    base = alt.Chart().encode(x=alt.X("layer:Q", **whole_axis(list(table.layer), "layer")), color=color)
    band = (
        base.mark_area(opacity=0.2)
        .encode(y=alt.Y("low:Q", title="dimensions"), y2="high:Q")
        .transform_filter("isValid(datum.low)")
    )
    points = base.mark_circle(size=30).encode(
        y=y, tooltip=tips(table, "measure", "layer", "position", "value", "interval", "flags")
    )
    return layered(
        table, [band, base.mark_line(strokeWidth=1.5).encode(y=y), points], f"{estimates.attrs['name']}, position {at}"
    )


def _rows(node: xr.Dataset, name: str, position: int) -> list[dict[str, Any]]:
    at = node.sel(position=position)
    ends = {
        end: at[f"{name}_{end}"].values if f"{name}_{end}" in at else [float("nan")] * len(at.layer) for end in ("low", "high")
    }
    flags = at.flags.values if "flags" in at else [""] * len(at.layer)
    return [
        {
            "measure": _MEASURES[name], "layer": int(layer), "position": position, "value": float(value),
            "low": float(ends["low"][place]), "high": float(ends["high"][place]), "flags": str(flags[place]),
        }
        for place, (layer, value) in enumerate(zip(at.layer.values, at[name].values, strict=True)) if value > 0
    ]  # fmt: skip
