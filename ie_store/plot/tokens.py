"""The map of readable tokens: what each layer still tells of each token of the past."""

from typing import Any

import altair as alt
import pandas as pd

from ie_store.errors import InputError
from ie_store.estimators import EXACT
from ie_store.plot.marks import MOST_TICKS, layered, tips
from ie_store.plot.values import MOST_CELLS, bits, label_of, position_of, rows_of, tabled
from ie_store.store.results.open_estimates import Estimates
from ie_store.store.results.readings import thinned

_MAPS = {
    "macro_token_nats": ("macro_token_nats_low", "macro_token_nats_high"),
    "macro_decode_token_nats": ("macro_decode_token_se_nats",),
}
"""Variables over (layer, position, token_position), and those of their error."""


def tokens(estimates: Estimates, position: int | None = None, estimator: str | None = None) -> alt.LayerChart:
    """Bits that the states of each layer at a position tell of each token before it and at it.

    Args:
        estimates: of one dataset.
        position: the last one with a value by default.
        estimator: a node that has such a map, by default one of `noise`, which tells layers apart, before one of `decode`.

    Raises:
        InputError: no such map.
    """
    having = {name: found for found in _MAPS for name, node in estimates.children.items() if found in node.data_vars}
    if estimator is not None and estimator not in having:
        raise InputError(f"{estimator!r} has no map of past tokens; choose from: {', '.join(having) or 'none'}")
    if not having:
        raise InputError(f"{estimates.attrs['name']} has no map of past tokens; noise and decode make one: ie-store estimate")
    name = estimator or next(iter(having))
    table = tokens_table(estimates, name, having[name], position)
    x = alt.X("token_position:O", title="position of the token", axis=_ticks(table.token_position, labelAngle=0))
    y = alt.Y("layer:O", sort="descending", axis=_ticks(table.layer))
    scale = alt.Scale(scheme="viridis", domainMin=0)
    color = alt.Color("bits:Q", title="bits", scale=scale, legend=alt.Legend(orient="bottom", gradientLength=180))
    shown = tips(table, "layer", "token_position", "bits", "interval", "standard_error", "exact")
    cells = alt.Chart().mark_rect().encode(x=x, y=y, color=color, tooltip=shown)
    title = f"{estimates.attrs['name']}, {label_of(estimates, name)}, states at position {table.position.iloc[0]}"
    return layered(table, [cells], title)


def _ticks(numbers: pd.Series, **options: Any) -> alt.Axis:
    return alt.Axis(values=thinned(sorted(set(map(int, numbers))), MOST_TICKS), grid=False, **options)


def tokens_table(estimates: Estimates, name: str, variable: str, position: int | None) -> pd.DataFrame:
    """``layer``, ``token_position``, ``position``, ``bits``, interval or standard error, and the token's ``exact`` entropy."""
    at = position_of(estimates[name].to_dataset()[variable], position)
    found = rows_of(estimates, name, "layer", "position", "token_position")
    found = found[(found.position == at) & found[variable].notnull()]
    past = thinned(sorted(set(map(int, found.token_position))), max(2, MOST_CELLS // len(set(found.layer))))
    found = found[found.token_position.isin(past)]
    entropies, unknown = _entropies(estimates), float("nan")
    error = [bits(found[end]) if end in found else unknown for end in _MAPS[variable]]
    low, high, standard_error = (*error, unknown) if len(error) == 2 else (unknown, unknown, *error)
    whole = {"layer": found.layer, "token_position": found.token_position, "position": at, "bits": bits(found[variable])}
    more = {"low": low, "high": high, "standard_error": standard_error, "exact": found.token_position.map(entropies)}
    return tabled(pd.DataFrame(whole | more).reset_index(drop=True))


def _entropies(estimates: Estimates) -> dict[int, float]:
    """Entropy of the token at each position, in bits."""
    if EXACT not in estimates.children:
        return {}
    found = estimates[EXACT].to_dataset().mi_micro.isel(block=0)
    return {int(position): float(bits(nats)) for position, nats in zip(found.position.values, found.values, strict=True)}
