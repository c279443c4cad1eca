"""Two datasets of one corpus side by side."""

from typing import Any

from ie_store.store.results.method_label import method_label
from ie_store.store.results.readings import Entry, Place, Reading, readings_of, short_bits
from ie_store.store.results.sentences import against_sentences, readings_sentences

from .estimates import at_position, cell, chosen_lines, headings, legend, line_names, places_of, say_thinned, titled
from .text import add_columns, add_row, console, light_table, say, tell

MOST_LINES = 6
"""Of a reading's table: there is one for each, on one screen."""


def against(shown: dict[str, Any], everything: bool = False, is_sorted: bool = False) -> None:
    """The object of ``show --against --json``: a table for each reading, then what they say."""
    mine = readings_of(shown["estimates"])
    theirs = readings_of([_other_side(entry) for entry in shown["estimates"]])
    say(("A", "bold"), ": ", titled(shown["name"], shown["weights"]))
    say(("B", "bold"), ": ", titled(shown["against"], shown["against_weights"]))
    for one, other in zip(mine, theirs, strict=True):
        _table(one, other, everything, places_of(shown["estimates"]) if is_sorted else None)
    for name in (shown["name"], shown["against"]):
        alone = [one for one in shown["alone"] if one["name"] == name]
        if alone:
            told = (f"{method_label(one['options'] | {'name': one['estimator']})} ({one['num_values']})" for one in alone)
            say((f"only {name} has, at so many blocks and positions: {', '.join(told)}", "dim"))
    legend(mine)
    held = [f"{one.label} {1 - error:.0%}" for one in mine if (error := _error(one)) is not None]
    if held:
        tell(("A - B", "bold"), f": low minus high to high minus low, which holds with at least: {', '.join(held)}")
    for sentence in (
        *readings_sentences(mine),
        *against_sentences(mine, theirs, (shown["name"], shown["against"]), _random(shown)),
    ):
        tell(sentence)


def _other_side(entry: Entry) -> Entry:
    """The entry as the other dataset has it."""
    sides = {f"macro_{key}": entry[f"against_{key}"] for key in ("nats", "interval_nats", "outcome", "ceiling_nats")}
    return entry | sides


def _error(reading: Reading) -> float | None:
    """The largest probability that one of its differences' intervals misses."""
    return max((entry["difference_error"] for entry in reading.at.values() if entry["difference_error"]), default=None)


def _random(shown: dict[str, Any]) -> tuple[bool, bool]:
    return shown["weights"] != "stored weights", shown["against_weights"] != "stored weights"


def _table(mine: Reading, theirs: Reading, everything: bool, order: list[Place] | None) -> None:
    places = sorted(mine.at)
    lines = chosen_lines(places, [mine], everything, order, MOST_LINES)
    positions = sorted({position for position, _ in places})
    table = light_table(f"{mine.label}{at_position(positions)}: macro information in bits")
    add_columns(table, *headings(positions), justify="right", no_wrap=True)
    add_columns(table, "A", "B", "A - B", no_wrap=True)
    for place in lines:
        one, other = mine.at[place], theirs.at[place]
        cells = cell(one, mine.usual_outcome), cell(other, theirs.usual_outcome), _difference(one)
        add_row(table, *line_names(place, positions), short_bits(one["macro_ceiling_nats"]), *cells)
    console.print(table)
    say_thinned(lines, places)


def _difference(entry: Entry) -> str:
    if entry["difference_nats"] is None:
        return f"{'-':>5}"
    low, high = entry["difference_interval_nats"]
    reach = max(entry["difference_nats"] - low, high - entry["difference_nats"])
    return f"{short_bits(entry['difference_nats']):>5} +- {short_bits(reach)}"
