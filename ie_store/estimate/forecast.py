"""How long a planned estimate should take, and how much memory: what samples took, carried on to all rows, with a span.

Between and below the samples' rows, values are interpolated. Beyond them::

    low      the power of rows that the last two samples show
    middle   the straight line through them, or that power where it rises faster
    high     in proportion to rows, or that power where it rises faster

A fixed part that fades makes the first too low and the last too high. Both ends are widened by `UNSTEADY`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from ie_store.estimate.calibrate import Sampled, calibrate
from ie_store.estimate.costs import RowsOf, rows_of
from ie_store.estimate.exact.prefix_index import PrefixIndex
from ie_store.estimate.memory import held_bytes
from ie_store.estimate.memory_budget import MemoryBudget
from ie_store.estimate.plan import EstimatePlan, WorkItem
from ie_store.estimate.shelf import Shelf
from ie_store.estimators import EstimatorSpec
from ie_store.specs import ITEM_BYTES, Level, StoreLayout

UNSTEADY = 1.3
"""How much faster or slower the same work may be at another time."""
STEEPEST = 2.0
"""Power of rows beyond which a rise between two samples is chance."""
WORTH_ROWS = 100_000
"""Distinct rows of all problems of a plan from which a run forecasts itself; with fewer it would take as long as the run."""

Kind = tuple[EstimatorSpec[Any], Level]


@dataclass(frozen=True, kw_only=True)
class Span:
    """A number that is not known, and between what it should lie."""

    low: float
    middle: float
    high: float

    def __add__(self, other: "Span") -> "Span":
        return Span(low=self.low + other.low, middle=self.middle + other.middle, high=self.high + other.high)

    def __mul__(self, times: float) -> "Span":
        return Span(low=self.low * times, middle=self.middle * times, high=self.high * times)

    def up_to(self, most: float) -> "Span":
        """The same, nowhere above ``most``."""
        return Span(low=min(self.low, most), middle=min(self.middle, most), high=min(self.high, most))


NOTHING = Span(low=0.0, middle=0.0, high=0.0)


@dataclass(frozen=True, kw_only=True)
class EstimateForecast:
    """What a plan should cost."""

    seconds: Span
    of_estimators: dict[str, Span]
    """Seconds by name."""
    peak_bytes: Span
    """Of the process, with all that is loaded before."""
    most_bytes: int
    """What may be taken beside that."""
    disk_bytes: int
    """Of states in temporary files at once, where they do not fit into memory; 0 where they do."""
    not_forecast: tuple[str, ...]
    """Estimators that no sample was run of: theirs is not in the seconds."""


def carried_on(rows: int, points: Sequence[tuple[int, float]]) -> Span:
    """A value at ``rows`` from those at fewer: ``points`` (rows, value), rising in rows."""
    last_rows, last = points[-1]
    if rows <= last_rows or len(points) == 1 or last <= 0:
        middle = _between(rows, points)
        return Span(low=middle / UNSTEADY, middle=middle, high=middle * UNSTEADY)
    before_rows, before = points[-2]
    rise = (last - before) / (last_rows - before_rows)
    power = min(STEEPEST, max(0.0, log(last / before) / log(last_rows / before_rows))) if before > 0 else 1.0
    times = rows / last_rows
    middle = last * times**power if power > 1 else last + max(0.0, rise) * (rows - last_rows)
    return Span(low=last * times**power / UNSTEADY, middle=middle, high=last * times ** max(1.0, power) * UNSTEADY)


def _between(rows: int, points: Sequence[tuple[int, float]]) -> float:
    above = next((point for point in points if point[0] >= rows), points[-1])
    below = next((point for point in reversed(points) if point[0] <= rows), points[0])
    if above[0] == below[0]:
        return above[1]
    return below[1] + (above[1] - below[1]) * (rows - below[0]) / (above[0] - below[0])


def is_worth_a_forecast(plan: EstimatePlan, corpus: PrefixIndex) -> bool:
    """True where a run takes so much longer than its forecast that this is no loss."""
    rows = rows_of(corpus)
    return sum(rows(item) * len(item.batch.problems) for item in plan.items if _is_sampled(item)) >= WORTH_ROWS


def make_forecast(plan: EstimatePlan, corpus: PrefixIndex, shelf: Shelf, budget: MemoryBudget) -> EstimateForecast:
    """Run samples of each estimator and level on the middle one of the items with most rows, and carry on what they took to all.

    Raises:
        StoreError, NonFiniteError: states that are damaged.
    """
    rows, held = rows_of(corpus), float(held_bytes() or 0)
    samples = _samples(plan, corpus, shelf, rows)
    of_estimators: dict[str, Span] = {}
    most, total = NOTHING, NOTHING
    for item in plan.items:
        if (found := samples.get((item.estimator, item.batch.level))) is None:
            continue
        seconds = carried_on(rows(item), [(one.rows, one.seconds) for one in found]) * len(item.batch.problems)
        of_estimators[item.estimator.name] = of_estimators.get(item.estimator.name, NOTHING) + seconds
        total += seconds
        one = carried_on(rows(item), [(sampled.rows, float(sampled.num_bytes)) for sampled in found])
        whole_batch, slabs = one * len(item.batch.problems), float(_slab_bytes(item, shelf.reader.layout))
        here = Span(  # problems may be worked on one by one; the next item's slabs are read meanwhile
            low=one.low + slabs, middle=whole_batch.middle + 2 * slabs, high=whole_batch.high + 2 * slabs
        )
        most = max(most, here, key=lambda span: span.middle)
    return EstimateForecast(
        seconds=total,
        of_estimators=of_estimators,
        peak_bytes=most.up_to(budget.num_bytes) + Span(low=held, middle=held, high=held),
        most_bytes=budget.num_bytes,
        disk_bytes=budget.disk_bytes,
        not_forecast=tuple(dict.fromkeys(item.estimator.name for item in plan.items if not _is_sampled(item))),
    )


def _samples(plan: EstimatePlan, corpus: PrefixIndex, shelf: Shelf, rows: RowsOf) -> dict[Kind, list[Sampled]]:
    of_kinds: dict[Kind, list[WorkItem]] = {}
    for item in filter(_is_sampled, plan.items):
        of_kinds.setdefault((item.estimator, item.batch.level), []).append(item)
    found: dict[Kind, list[Sampled]] = {}
    for kind, items in of_kinds.items():
        most = max(map(rows, items))
        largest = [item for item in items if rows(item) == most]
        largest = [item for item in largest if item.batch.blocks != (0,)] or largest  # tokens alone may leave nothing to learn
        item = largest[len(largest) // 2]
        found[kind] = calibrate(item, shelf.fetch(item.slabs), corpus, shelf.room)
    return found


def _is_sampled(item: WorkItem) -> bool:
    """False for what takes long on the fewest rows, and asks for consent with its own forecast."""
    return item.estimator.row.require_consent is None


def _slab_bytes(item: WorkItem, layout: StoreLayout) -> int:
    width = layout.hidden_size * ITEM_BYTES[layout.stored_dtype]
    return sum(layout.level(slab.level).num_rows * width for slab in item.slabs)
