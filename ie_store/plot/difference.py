"""Two datasets of one corpus over layers, and their difference with its error."""

from typing import Any

import altair as alt
import pandas as pd

from ie_store.errors import InputError
from ie_store.estimators import estimator_row
from ie_store.plot.marks import GREY, layered, outcome_fill, outcome_shape, series_colors, thread, tips, whole_axis
from ie_store.plot.values import bits, estimator_of, estimators_of, label_of, tabled, with_runs
from ie_store.store.results.against import difference_of
from ie_store.store.results.open_estimates import Estimates


def difference(
    estimates: Estimates, other: Estimates, position: int | None = None, estimator: str | None = None
) -> alt.LayerChart:
    """Macro information of two datasets over blocks, and the one minus the other, in bits, with bands for the intervals.

    The interval of a difference runs from low minus high to high minus low. There is none where a value says "at least" alone.

    Args:
        estimates: of one dataset.
        other: of another one of the same corpus.
        position: the last one with a value in both by default.
        estimator: a node that both have, by default one with proven intervals, else the first.

    Raises:
        InputError: other corpora, or no results in common.
    """
    names = estimates.attrs["name"], other.attrs["name"]
    if estimates.attrs["corpus_fingerprint"] != other.attrs["corpus_fingerprint"]:
        raise InputError(f"{names[0]} and {names[1]} are not of one corpus, and only values of the same rows can be compared")
    name, label = _common(estimates, other, estimator)
    table = difference_table(estimates, other, name, label, position)
    series = list(dict.fromkeys(table.series))
    color, fill = series_colors("series", series)
    base = alt.Chart().encode(x=alt.X("block:Q", **whole_axis(list(table.block), "block")), color=color, detail="run:N")
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", title="bits"), y2="high:Q")
    whisker = base.mark_rule(strokeWidth=1.5).encode(y="low:Q", y2="high:Q")
    y = alt.Y("bits:Q", title="bits")
    shown = tips(table, "series", "block", "position", "bits", "interval", "outcome", "told_apart")
    points = base.mark_point(size=36, strokeWidth=1.5).encode(
        y=y, shape=outcome_shape(table), fill=fill, fillOpacity=outcome_fill(), tooltip=shown
    )
    zero = alt.Chart().mark_rule(color=GREY, strokeDash=[5, 4]).encode(y=alt.datum(0, type="quantitative"))
    return layered(
        table,
        [zero, band, whisker, thread(base, "series", y), base.mark_line(strokeWidth=1.5).encode(y=y), points],
        f"{label}, position {table.position.iloc[0]}",
    )


def _common(estimates: Estimates, other: Estimates, estimator: str | None) -> tuple[str, str]:
    """Name and label of the node that is compared."""
    theirs = {other.children[name].attrs["results"]: name for name in estimators_of(other)}
    both = [name for name in estimators_of(estimates) if estimates.children[name].attrs["results"] in theirs]
    if estimator is not None and estimator not in both:
        raise InputError(
            f"not both have {estimator!r} with the same options; they have in common: {', '.join(both) or 'nothing'}"
        )
    if not both:
        raise InputError("the two have no results in common; run ie-store estimate on both with the same options")
    proven = [name for name in both if estimator_row(estimator_of(estimates[name])).guarantee == "certified"]
    name = estimator or (proven or both)[0]
    return name, label_of(estimates, name)


def difference_table(estimates: Estimates, other: Estimates, name: str, label: str, position: int | None) -> pd.DataFrame:
    """``series``, ``block``, ``position``, ``bits``, ``low``, ``high``, ``outcome``, ``told_apart``, ``interval``."""
    theirs = next(node for node in other.children.values() if node.attrs["results"] == estimates.children[name].attrs["results"])
    mine_at, theirs_at = _entries(estimates.children[name]), _entries(theirs)
    places = [place for place in mine_at if place in theirs_at]
    positions = {at for _, at in places}
    if not places or (position is not None and position not in positions):
        raise InputError(f"{label} has no values of both at position {position}; it has some at: {sorted(positions)}")
    at = max(positions) if position is None else position
    rows: list[dict[str, Any]] = []
    titles = estimates.attrs["name"], other.attrs["name"], "difference"
    for block, here in places:
        if here != at:
            continue
        pair = mine_at[block, here], theirs_at[block, here]
        common = {"block": block, "position": at}
        for title, entry in zip(titles, pair, strict=False):
            low, high = entry["macro_interval_nats"]
            rows.append({"series": title, **common, **_bits(entry["macro_nats"], low, high), "outcome": entry["macro_outcome"]})
        found = difference_of(*pair)
        if found["difference_nats"] is not None:
            values = _bits(found["difference_nats"], *found["difference_interval_nats"])
            rows.append({"series": titles[2], **common, **values, "outcome": "", "told_apart": "yes" if found["apart"] else "no"})
    table = with_runs(tabled(sorted(rows, key=lambda row: titles.index(row["series"]))), "series", "block")
    return table if "told_apart" not in table else table.fillna({"told_apart": ""})


def _bits(*nats: float) -> dict[str, float]:
    return dict(zip(("bits", "low", "high"), map(float, map(bits, nats)), strict=True))


def _entries(node: Any) -> dict[tuple[int, int], dict[str, Any]]:
    """The values of a node as `show` has them, by block and position."""
    table = node.to_dataframe()
    return {
        (int(row["block"]), int(row["position"])): {
            "macro_nats": row["mi_macro"],
            "macro_interval_nats": [row["mi_macro_low"], row["mi_macro_high"]],
            "macro_outcome": row["outcome_macro"],
            "macro_error": row.get("macro_error"),
        }
        for row in table.to_dict("records")
        if row["mi_macro"] == row["mi_macro"]
    }
