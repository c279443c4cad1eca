"""Readings: what tables have a column for, and sentences speak of. One is an estimator with its options on one dataset."""

from dataclasses import dataclass
from typing import Any

from ie_store.estimators import DEFAULTS, EXACT, NAMES
from ie_store.grid import format_selection
from ie_store.specs import NATS_PER_BIT, Outcome
from ie_store.store.results.method_label import method_label, shown_value

Entry = dict[str, Any]
Place = tuple[int, int]
"""(position, block), so that places sort by position."""
SPOKEN = {"std": "standard deviations", "rms": "root mean squares"}
"""Values of options as sentences have them."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One group of results, by place."""

    estimator: str
    results: str
    options: dict[str, Any]
    at: dict[Place, Entry]

    @property
    def label(self) -> str:
        """Its name, and the options by which it differs from what is usual."""
        return method_label(self.options | {"name": self.estimator})

    @property
    def usual_outcome(self) -> Outcome | None:
        """The outcome that all its values have that are not exact, if it is one that needs no warning."""
        found = {Outcome(entry["macro_outcome"]) for entry in self.at.values()} - {Outcome.EXACT}
        return next(iter(found)) if len(found) == 1 and not next(iter(found)).flagged else None

    @property
    def last_position(self) -> int:
        """The largest position with a value."""
        return max(position for position, _ in self.at)

    def of_position(self, position: int) -> dict[int, Entry]:
        """Its entries at one position, by rising block."""
        return {block: entry for (at, block), entry in sorted(self.at.items()) if at == position}


def readings_of(entries: list[Entry]) -> list[Reading]:
    """The readings among the entries of ``show --json``; what runs by default first, exact left out."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry["estimator"] != EXACT:
            groups.setdefault(entry["results"], []).append(entry)
    found = [
        Reading(
            estimator=group[0]["estimator"],
            results=results,
            options=group[0]["options"],
            at={(entry["position"], entry["block"]): entry for entry in group},
        )
        for results, group in groups.items()
    ]
    order = (*DEFAULTS, *NAMES)
    return sorted(found, key=lambda reading: (order.index(reading.estimator), reading.label))


def thinned(numbers: list[int], most: int, kept: frozenset[int] = frozenset()) -> list[int]:
    """At most ``most`` of ``numbers``, rising and evenly apart: first and last always, ``kept`` as long as there is room."""
    if len(numbers) <= most:
        return numbers
    chosen = {numbers[0], numbers[-1]}
    for number in sorted(kept & set(numbers)):
        if len(chosen) < most:
            chosen.add(number)
    while len(chosen) < most:  # the one that is farthest from those chosen
        chosen.add(max(numbers, key=lambda number: min(abs(number - other) for other in chosen)))
    return sorted(chosen)


def is_run(numbers: list[int]) -> bool:
    """True where rising ``numbers`` leave none out."""
    return numbers == list(range(numbers[0], numbers[-1] + 1))


def span(numbers: list[int], noun: str = "block") -> str:
    """``block 3``, ``blocks 1-29``, ``blocks 0, 9, 20-22``."""
    return f"{noun}{'' if len(numbers) == 1 else 's'} {format_selection(sorted(numbers))}"


def short_bits(nats: float | None, digits: int = 2) -> str:
    """Nats as bits with two decimals; a dash where there is no value."""
    return "-" if nats is None else f"{round(nats / NATS_PER_BIT, digits) + 0.0:.{digits}f}"


def filled(phrase: str, options: dict[str, Any]) -> str:
    """A phrase of the table of estimators with the values of options in place of their names in braces."""
    for name, value in options.items():
        phrase = phrase.replace(f"{{{name}}}", SPOKEN.get(shown_value(value), shown_value(value)))
    return phrase
