"""What is left of the information as noise grows, a line for each layer."""

import altair as alt
import pandas as pd

from ie_store.plot.marks import GREY, layer_color, layer_fill, layered, tips
from ie_store.plot.values import MOST_CELLS, bits, label_of, node_with, position_of, rows_of, tabled
from ie_store.store.results.open_estimates import Estimates
from ie_store.store.results.readings import thinned


def curves(estimates: Estimates, position: int | None = None, estimator: str | None = None) -> alt.LayerChart:
    """Macro information left at each noise level sigma, in bits: a line and the band of its interval for each layer.

    Args:
        estimates: of one dataset.
        position: the last one with a value by default.
        estimator: a node with curves, by default the first.

    Raises:
        InputError: no curves there.
    """
    name, _ = node_with(estimates, "macro_curve_nats", estimator, "estimate STORE MODEL/CORPUS --estimator noise")
    table = curves_table(estimates, name, position)
    levels = sorted(set(table.sigma))
    x = alt.X(
        "sigma:Q", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(values=levels, title="sigma (noise level)", grid=False)
    )
    base = alt.Chart().encode(x=x, color=layer_color(legend=None), detail="layer:N")
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("low:Q", title="macro information (bits)"), y2="high:Q")
    is_last = alt.condition(f"datum.layer == {table.layer.max()}", alt.value(2.5), alt.value(1))
    line = base.mark_line().encode(y="bits:Q", strokeWidth=is_last)
    shown = tips(table, "layer", "sigma", "position", "bits", "interval", "exact", "outcome")
    points = base.mark_point(size=24, opacity=1).encode(y="bits:Q", fill=layer_fill(), tooltip=shown)
    exact = alt.Chart().mark_rule(strokeDash=[5, 4], color=GREY).encode(y="max(exact):Q", tooltip=tips(table, "position"))
    parts = (exact, band, line, points) if table.exact.notnull().any() else (band, line, points)
    title = f"{estimates.attrs['name']}, {label_of(estimates, name)}, position {table.position.iloc[0]}"
    return layered(table, list(parts), title)


def curves_table(estimates: Estimates, name: str, position: int | None) -> pd.DataFrame:
    """``layer``, ``sigma``, ``position``, ``bits``, ``low``, ``high``, ``exact``, ``outcome``, ``interval``."""
    node = estimates[name].to_dataset()
    at = position_of(node.macro_curve_nats, position)
    found = rows_of(estimates, name, "layer", "position", "sigma")
    found = found[(found.position == at) & found.macro_curve_nats.notnull()]
    kept = thinned(sorted(set(found.layer)), MOST_CELLS // len(set(found.sigma)))
    ceilings = {int(block): float(bits(nats)) for block, nats in enumerate(node.ceiling_macro.sel(position=at).values)}
    rows = [
        {
            "layer": int(row["layer"]), "sigma": row["sigma"], "position": at, "bits": float(bits(row["macro_curve_nats"])),
            "low": float(bits(row["macro_curve_low_nats"])), "high": float(bits(row["macro_curve_high_nats"])),
            "exact": ceilings.get(int(row["layer"]), ceilings[max(ceilings)]), "outcome": "certified",
        }
        for row in found.to_dict("records") if row["layer"] in kept
    ]  # fmt: skip
    return tabled(rows)
