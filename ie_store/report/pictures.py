"""The pictures of a report: which there are for the results at hand, each with its table and how to read it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import altair as alt

from ie_store import plot
from ie_store.errors import InputError
from ie_store.store.results.open_estimates import Estimates


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A chart of one dataset, or of two."""

    chart: alt.LayerChart
    name: str
    """Of the dataset or datasets, for its heading and for the files that are saved."""
    num_left_out: int = 0
    """Rows of its data that a page of many pictures has no room for."""

    @cached_property
    def specification(self) -> dict[str, Any]:
        """The chart as wide as its frame, for the page: its ``spec``, and its data apart, as ``columns`` and ``rows``."""
        found: dict[str, Any] = self.chart.properties(width="container").to_dict()
        found.pop("$schema")
        ((data, rows),) = found.pop("datasets").items()
        columns = list(rows[0])
        return {"spec": found, "data": data, "columns": columns, "rows": [[row[name] for name in columns] for row in rows]}


@dataclass(frozen=True, kw_only=True)
class Section:
    """One kind of picture, side by side for all datasets that have it."""

    key: str
    title: str
    reading: str
    """How to read it."""
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class _Kind:
    key: str
    title: str
    reading: str
    draw: Callable[[Estimates], alt.LayerChart]


_KINDS = (
    _Kind(
        key="profile", title="Profile over layers", draw=plot.profile,
        reading="Macro information at the last position: what the state of a whole prefix tells, by each reading. Dashed: all "
        "there is to know. Bands and whiskers are 95% intervals; a hollow mark is not to be read as a value, its shape says why.",
    ),
    _Kind(
        key="emergence", title="Emergence over positions", draw=plot.emergence,
        reading="E is macro minus the mean of micro information. Grey treads are exact, the same for all weights that tell "
        "prefixes apart; marks are blocks, from left to right within a position. E is positive because it averages micro terms.",
    ),
    _Kind(
        key="tokens", title="Readable tokens", draw=plot.tokens,
        reading="What the states of each layer at the last position tell of each token up to it. One without choice has 0 bits.",
    ),
    _Kind(
        key="curves", title="Robust information", draw=plot.curves,
        reading="What is left under Gaussian noise of growing size, in units of each layer's own scale. Thick: the last layer.",
    ),
    _Kind(
        key="dimensions", title="Dimensions", draw=plot.dimensions,
        reading="How many directions a layer uses. No information: it changes when a layer is rescaled or turned askew.",
    ),
    _Kind(
        key="spectrum", title="Spectra", draw=plot.spectrum,
        reading="Share of the variance by rank of the covariance's eigenvalues, for some layers, first and last among them.",
    ),
)  # fmt: skip
_DIFFERENCE = (
    "Two datasets of one corpus and the one minus the other. The interval of a difference runs from low minus high to high minus "
    "low, so it assumes nothing of how the two erred together; where it leaves out 0 the two are told apart."
)


def sections(datasets: list[Estimates]) -> list[Section]:
    """What can be drawn of these datasets; differences are those to the first one of the same corpus."""
    differences = tuple(_differences(datasets))
    found = [_section(kind, datasets) for kind in _KINDS]
    against = Section(key="difference", title="Side by side", reading=_DIFFERENCE, pictures=differences)
    return [section for section in (against, *found) if section.pictures]


def _section(kind: _Kind, datasets: list[Estimates]) -> Section:
    drawn = [(estimates, _drawn(kind.draw, estimates)) for estimates in datasets]
    pictures = tuple(Picture(chart=chart, name=estimates.attrs["name"]) for estimates, chart in drawn if chart is not None)
    return Section(key=kind.key, title=kind.title, reading=kind.reading, pictures=pictures)


def _differences(datasets: list[Estimates]) -> Iterator[Picture]:
    for first, other in pairs(datasets):
        chart = _drawn(plot.difference, first, other)
        if chart is not None:
            yield Picture(chart=chart, name=f"{first.attrs['name']} and {other.attrs['name']}")


def pairs(datasets: list[Estimates]) -> list[tuple[Estimates, Estimates]]:
    """The first dataset of each corpus with every other one of it."""
    firsts: dict[str, Estimates] = {}
    for estimates in datasets:
        firsts.setdefault(estimates.attrs["corpus_fingerprint"], estimates)
    beside = [(firsts[estimates.attrs["corpus_fingerprint"]], estimates) for estimates in datasets]
    return [(first, other) for first, other in beside if first is not other]


def _drawn(draw: Callable[..., alt.LayerChart], *of: Estimates) -> alt.LayerChart | None:
    """The picture, or None where what it shows was not estimated."""
    try:
        return draw(*of)
    except InputError:
        return None
