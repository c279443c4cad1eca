"""Spectra of the layers: how a covariance's variance is spread over directions."""

import altair as alt
import pandas as pd

from ie_store.plot.marks import layer_color, layer_fill, layered, tips
from ie_store.plot.values import DIGITS, node_with, position_of
from ie_store.store.results.open_estimates import Estimates
from ie_store.store.results.readings import thinned

MOST_LAYERS = 8


def spectrum(estimates: Estimates, position: int | None = None) -> alt.LayerChart:
    """Share of the variance by rank of the eigenvalue, a line for each of at most 8 layers, first and last among them.

    Args:
        estimates: of one dataset that `ie-store profile` has described.
        position: the last one with a value by default.

    Raises:
        InputError: no spectrum there.
    """
    _, node = node_with(estimates, "eigenvalue_share", None, "profile STORE MODEL/CORPUS")
    at = position_of(node.eigenvalue_share, position)
    shares = node.eigenvalue_share.sel(position=at)
    kept = thinned([int(layer) for layer in shares.layer.values[shares.notnull().any("rank").values]], MOST_LAYERS)
    rows = [
        {"layer": layer, "rank": place, "position": at, "share": float(share)}
        for layer in kept
        for place, share in enumerate(shares.sel(layer=layer).values, 1)
        if share > 0
    ]
    table = pd.DataFrame(rows).round(DIGITS + 3)
    x = alt.X(
        "rank:Q", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(title="rank of the eigenvalue", grid=False, format="d")
    )
    y = alt.Y("share:Q", scale=alt.Scale(type="log"), axis=alt.Axis(title="share of the variance", format=".0e"))
    base = alt.Chart().encode(x=x, y=y, color=layer_color(legend=None), detail="layer:N")
    shown = [*tips(table, "layer", "rank", "position"), alt.Tooltip("share:Q", format=".2%")]
    return layered(
        table,
        [base.mark_line(strokeWidth=1.5), base.mark_point(size=14, opacity=1).encode(fill=layer_fill(), tooltip=shown)],
        f"{estimates.attrs['name']}, position {at}",
    )
