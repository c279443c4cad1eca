"""What all pictures share: colours that hold on light and on dark ground, shapes of outcomes, bands, axes, tooltips."""

from typing import Any, cast

import altair as alt
import pandas as pd

from ie_store.plot.values import READABLE
from ie_store.specs import Outcome
from ie_store.store.results.readings import thinned

GREY = "#858585"
COLORS = ("#3f7fd0", "#e0812d", "#2a9d74", "#a868c8", "#d1495b", "#8a7a2e", "#2b9aa8", "#c05f9a")
"""At least 3:1 on white and on near black."""
_LAYER_SCALE = alt.Scale(range=["#4a7fe0", "#1fa39a", "#d99a2b", "#d1495b"], interpolate="lab")
LAYER_LEGEND = alt.Legend(orient="bottom", type="gradient", direction="horizontal", gradientLength=180, tickMinStep=1, format="d")
WIDTH, HEIGHT = 560, 300
MOST_TICKS = 9
LEAST_GAP = 0.05
"""Between ticks, of the axis."""
_SHAPES = {
    Outcome.SATURATED.value: "triangle-up",
    Outcome.STEP_LIMIT.value: "triangle-right",
    Outcome.UNSTABLE.value: "triangle-down",
    Outcome.NOT_A_BOUND.value: "square",
    Outcome.ABOVE_CEILING.value: "diamond",
    Outcome.DIVERGED.value: "cross",
}
WHOLE = ("block", "layer", "position")
"""Columns of whole numbers, also where rows without one make them floats."""
READABLE_SHAPE, OTHER_SHAPE = "circle", "stroke"


def layered(table: pd.DataFrame, layers: list[alt.Chart], title: str) -> alt.LayerChart:
    """Layers over one table, at the usual size, under a title."""
    heading = alt.Title(title, anchor="start", fontWeight="normal", fontSize=12, limit=WIDTH)
    chart = cast(alt.LayerChart, alt.layer(*layers, data=table))
    return chart.properties(width=WIDTH, height=HEIGHT, title=heading)


def series_colors(field: str, names: list[str], grey: str | None = None) -> tuple[alt.Color, alt.Fill]:
    """A colour for each of ``names``, in order, and grey for one of them: of lines, and of what marks are filled with."""
    colored = [name for name in names if name != grey]
    found = {name: COLORS[place % len(COLORS)] for place, name in enumerate(colored)} | ({grey: GREY} if grey in names else {})
    scale = alt.Scale(domain=names, range=[found[name] for name in names])
    legend = alt.Legend(title=None, orient="bottom", symbolOpacity=1, symbolType="stroke", symbolStrokeWidth=3)
    return alt.Color(f"{field}:N", scale=scale, legend=legend), alt.Fill(f"{field}:N", scale=scale, legend=legend)


def layer_color(field: str = "layer", legend: alt.Legend | None = LAYER_LEGEND) -> alt.Color:
    """From blue for the first to red for the last; without a legend where `layer_fill` has it."""
    return alt.Color(f"{field}:Q", title=field, scale=_LAYER_SCALE, legend=legend)


def thread(base: alt.Chart, series: str, y: alt.Y) -> alt.Chart:
    """A faint line through all values of a series, which leads the eye where layers between were not estimated."""
    found: alt.Chart = base.mark_line(strokeWidth=1, opacity=0.6, strokeDash=[2, 4]).encode(y=y, detail=f"{series}:N")
    return found


def layer_fill(field: str = "layer") -> alt.Fill:
    """What marks are filled with, as `layer_color`."""
    return alt.Fill(f"{field}:Q", title=field, scale=_LAYER_SCALE, legend=LAYER_LEGEND)


def outcome_shape(table: pd.DataFrame) -> alt.Shape:
    """Circles where a value may be read as it is; another shape for each other outcome."""
    found = list(dict.fromkeys(outcome for outcome in table.outcome if outcome))
    shapes = [READABLE_SHAPE if outcome in READABLE else _SHAPES.get(outcome, OTHER_SHAPE) for outcome in found]
    legend = alt.Legend(title="outcome", orient="bottom", symbolFillColor="transparent", symbolStrokeColor=GREY)
    return alt.Shape("outcome:N", scale=alt.Scale(domain=found, range=shapes), legend=legend)


def outcome_fill() -> Any:
    """Filled where a value may be read as it is, hollow where not. A difference is one of two such values."""
    return alt.condition(f"indexof({[*READABLE, '']}, datum.outcome) >= 0", alt.value(1), alt.value(0))


def whole_axis(numbers: list[int], title: str) -> dict[str, Any]:
    """Axis and scale of whole numbers: first and last always have a tick."""
    rising = sorted(set(numbers))
    pad = 0.5 if len(rising) == 1 else 0.02 * (rising[-1] - rising[0])
    axis = alt.Axis(values=_ticks(rising), format="d", title=title, grid=False, labelOverlap=False)
    return {"axis": axis, "scale": alt.Scale(domain=[rising[0] - pad, rising[-1] + pad], nice=False, zero=False)}


def _ticks(rising: list[int]) -> list[int]:
    """Few enough, and none so near to the first or the last that their labels would touch."""
    least = LEAST_GAP * (rising[-1] - rising[0])
    ends = (rising[0], rising[-1])
    return [tick for tick in thinned(rising, MOST_TICKS) if tick in ends or min(abs(tick - end) for end in ends) >= least]


def tips(table: pd.DataFrame, *columns: str) -> list[alt.Tooltip]:
    """Tooltips of those of the columns that hold anything: numbers with two decimals, whole numbers and texts as they are."""
    found = []
    for name in columns:
        if name not in table or not any(value not in ("", None) and value == value for value in table[name]):
            continue
        is_number = table[name].dtype.kind == "f"
        interval = "95% interval, bits" if "bits" in table else "95% interval"
        label = {"bits": "bits", "interval": interval}.get(name, name.replace("_", " "))
        found.append(
            alt.Tooltip(name, type="quantitative", format="d" if name in WHOLE else ".2f", title=label)
            if is_number
            else alt.Tooltip(f"{name}:N", title=label)
        )
    return found
