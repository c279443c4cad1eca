"""Every reading over the layers at one position, beside what there is to know."""

import json
from collections.abc import Iterator
from typing import Any

import altair as alt
import pandas as pd
import xarray as xr

from ie_store.errors import InputError
from ie_store.estimators import EXACT
from ie_store.plot.marks import layered, outcome_fill, outcome_shape, series_colors, thread, tips, whole_axis
from ie_store.plot.values import NO_OUTCOME, bits, estimators_of, known_positions, label_of, position_of, tabled, with_runs
from ie_store.specs import Outcome
from ie_store.store.results.open_estimates import Estimates

_TITLE = "macro information (bits)"
_OF_LAST_LAYER = (
    ("macro_curve_nats", "macro_curve_low_nats", "macro_curve_high_nats"),
    ("macro_decode_nats", "macro_decode_low_nats", "macro_decode_high_nats"),
)
"""Variables over layers that also say something of the last one: value and interval."""


def profile(estimates: Estimates, position: int | None = None) -> alt.LayerChart:
    """Macro information of every reading over layers, in bits: a band for its 95% interval, hollow marks for what is flagged.

    A value stands at the layer that its block reads; where a reading looks at the last layer too, that one is shown.

    Args:
        estimates: of one dataset.
        position: the last one with a value by default.

    Raises:
        InputError: no estimates there.
    """
    table = profile_table(estimates, position)
    names = list(dict.fromkeys(table.reading))
    x = alt.X("layer:Q", **whole_axis(list(table.layer), "layer"))
    y = alt.Y("bits:Q", title=_TITLE, scale=alt.Scale(zero=True, padding=8))
    color, fill = series_colors("reading", names, grey=EXACT)
    others = alt.Chart().encode(x=x, color=color, detail="run:N").transform_filter(f"datum.reading != '{EXACT}'")
    band = others.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", title=_TITLE), y2="high:Q")
    whisker = others.mark_rule(strokeWidth=1.5).encode(y="low:Q", y2="high:Q")
    line = others.mark_line(strokeWidth=1.5).encode(y=y)
    points = others.mark_point(size=36, strokeWidth=1.5).encode(
        y=y, shape=outcome_shape(table), fill=fill, fillOpacity=outcome_fill(),
        tooltip=tips(table, "reading", "layer", "position", "bits", "interval", "exact", "outcome", "flags"),
    )  # fmt: skip
    exact = alt.Chart().mark_line(strokeWidth=1.5, strokeDash=[5, 4]).encode(x=x, y=y, color=color)
    exact = exact.transform_filter(f"datum.reading == '{EXACT}'")
    at = table.position.iloc[0]
    return layered(
        table, [band, whisker, thread(others, "reading", y), line, points, exact], f"{estimates.attrs['name']}, position {at}"
    )


def profile_table(estimates: Estimates, position: int | None = None) -> pd.DataFrame:
    """``reading``, ``layer``, ``position``, ``bits``, ``low``, ``high``, ``exact``, ``outcome``, ``flags``, ``interval``."""
    names = estimators_of(estimates) or [name for name in estimates.children if name == EXACT]
    if not names:
        raise InputError(f"{estimates.attrs['name']} has no estimates; make some with: ie-store estimate")
    known = [position_of(estimates[name].mi_macro, None) for name in names]
    at = max(known) if position is None else position
    if all(at not in known_positions(estimates[name].mi_macro) for name in names):
        position_of(estimates[names[0]].mi_macro, at)
    rows = [row for name in names if name != EXACT for row in _rows(estimates, name, at)]
    return with_runs(tabled([*_exact_rows(estimates, rows, at), *rows]), "reading", "layer")


def _rows(estimates: Estimates, name: str, position: int) -> Iterator[dict[str, Any]]:
    node, label = estimates[name].to_dataset(), label_of(estimates, name)
    if position not in known_positions(node.mi_macro):
        return
    at = node.sel(position=position)
    for block in at.block.values[at.mi_macro.notnull().values]:
        here = at.sel(block=block)
        values = (here[f"mi_macro{end}"].item() for end in ("", "_low", "_high"))
        row = _row(label, int(block), position, values, here.ceiling_macro.item())
        yield row | {"outcome": here.outcome_macro.item(), "flags": here.flags.item()}
    if last := _last_layer(node, position):
        exact = at.ceiling_macro.values[-1] if len(at.block) > 1 else float("nan")
        outcome = _outcome_of_last_layer(node, position)
        yield _row(label, int(node.layer[-1]), position, last, exact) | {"outcome": outcome, "flags": ""}


def _row(label: str, layer: int, position: int, values: Any, exact: float) -> dict[str, Any]:
    value, low, high = map(bits, values)
    return {
        "reading": label, "layer": layer, "position": position, "bits": float(value), "low": float(low), "high": float(high),
        "exact": float(bits(exact)),
    }  # fmt: skip


def _last_layer(node: xr.Dataset, position: int) -> list[float] | None:
    """Value and interval of the layer that no block reads."""
    names = next((names for names in _OF_LAST_LAYER if names[0] in node), None)
    if names is None:
        return None
    at = node.sel(position=position).isel(layer=-1)
    if "sigma" in at.dims:
        at = at.sel(sigma=json.loads(node.attrs["options"])["sigma"])
    values = [float(at[name].item()) if name in at else float("nan") for name in names]
    return values if values[0] == values[0] else None


def _outcome_of_last_layer(node: xr.Dataset, position: int) -> str:
    if "macro_curve_nats" in node:
        return Outcome.CERTIFIED.value
    known = node.macro_decode_outcome.sel(position=position).values[-1] if "macro_decode_outcome" in node else ""
    return str(known) or NO_OUTCOME


def _exact_rows(estimates: Estimates, rows: list[dict[str, Any]], position: int) -> list[dict[str, Any]]:
    """What there is to know at each layer, from `exact` or, without it, from what stands beside the estimates."""
    known = {row["layer"]: row["exact"] for row in rows if row["exact"] == row["exact"]}
    if EXACT in estimates.children:
        at = estimates[EXACT].to_dataset().sel(position=position)
        known |= {int(block): float(bits(nats)) for block, nats in zip(at.block.values, at.mi_macro.values, strict=True)}
    unknown = float("nan")
    return [
        {
            "reading": EXACT, "layer": layer, "position": position, "bits": exact, "low": unknown, "high": unknown,
            "exact": exact, "outcome": Outcome.EXACT.value, "flags": "",
        }
        for layer, exact in sorted(known.items()) if exact == exact
    ]  # fmt: skip
