"""The table of ``estimate`` and ``show``: exact emergence apart, then a line for each block and position.

An estimate never stands without its ceiling (the column ``exact``), its interval and its outcome.
"""

import re
from typing import Any

from ie_store.estimators import EXACT, estimator_row
from ie_store.specs import Outcome
from ie_store.store.results.readings import Entry, Place, Reading, filled, readings_of, short_bits, span, thinned
from ie_store.store.results.sentences import extremes, pairs_sentence, readings_sentences

from .text import MOST_FLAGS, add_columns, add_row, console, light_table, say, tell

MOST_LINES, MOST_POSITIONS = 9, 3
"""Of a table that is to fit one screen."""
READINGS_A_TABLE = 3
"""That fit 80 columns beside each other."""
MOST_EXACT = 8
FEW_BLOCKS = 4
"""A reading of no more blocks than this keeps its lines in a thinned table."""
EMERGENCE_IS_POSITIVE = "IE is positive because it averages the micro terms."


def estimates(shown: dict[str, Any], everything: bool = False, is_sorted: bool = False) -> None:
    """The estimates of a dataset (the object of ``show --json``); thinned to one screen unless ``everything`` is asked for.

    Lines stand by position and block, or as the estimates stand where ``is_sorted``.
    """
    readings = readings_of(shown["estimates"])
    say((titled(f"{shown['model']}/{shown['corpus']}", shown["weights"]), "bold"))
    if readings:
        _macro_tables(readings, everything, places_of(shown["estimates"]) if is_sorted else None)
        legend(readings)
    if everything and readings:
        for reading in readings:
            _emergence_table(reading)
    exact_emergence([entry for entry in shown["estimates"] if entry["estimator"] == EXACT], everything)
    flags(readings)
    for sentence in (*readings_sentences(readings), *pairs_sentence(readings, shown["told_apart"])):
        tell(sentence)


def titled(name: str, weights: str) -> str:
    """A dataset's name, and that its weights were drawn where they were."""
    return name if weights == "stored weights" else f"{name} ({weights})"


def places_of(entries: list[Entry]) -> list[Place]:
    """The places of estimates, in their order."""
    return list(dict.fromkeys((entry["position"], entry["block"]) for entry in entries))


def chosen_lines(
    places: list[Place], readings: list[Reading], everything: bool, order: list[Place] | None, most: int
) -> list[Place]:
    """The places that a table shows, in order: all, or those that fit one screen."""
    if order is None:
        return places if everything else one_screen(places, readings, most)
    return [place for place in order if place in places][: None if everything else most]


def _macro_tables(readings: list[Reading], everything: bool, order: list[Place] | None) -> None:
    for start in range(0, len(readings), READINGS_A_TABLE):
        some = readings[start : start + READINGS_A_TABLE]
        places = sorted({place for reading in some for place in reading.at})
        lines = chosen_lines(places, some, everything, order, MOST_LINES)
        positions = sorted({position for position, _ in places})
        table = light_table(f"Macro information{at_position(positions)}, in bits")
        add_columns(table, *headings(positions), justify="right", no_wrap=True)
        add_columns(table, *(reading.label for reading in some), overflow="fold")
        for place in lines:
            entries = [reading.at.get(place) for reading in some]
            ceiling = next(entry["macro_ceiling_nats"] for entry in entries if entry)
            cells = [cell(entry, reading.usual_outcome) for entry, reading in zip(entries, some, strict=True)]
            add_row(table, *line_names(place, positions), short_bits(ceiling), *cells)
        console.print(table)
        say_thinned(lines, places)


def at_position(positions: list[int]) -> str:
    """For a title: the position, where there is one alone."""
    return f" at position {positions[0]}" if len(positions) == 1 else ""


def headings(positions: list[int]) -> list[str]:
    """Over the cells of `line_names` and the exact value."""
    return ["block", *(["position"] if len(positions) > 1 else []), "exact"]


def line_names(place: Place, positions: list[int]) -> list[str]:
    """The first cells of a line: its block, and its position where there are several."""
    position, block = place
    return [str(block), *([str(position)] if len(positions) > 1 else [])]


def one_screen(places: list[Place], readings: list[Reading], most: int = MOST_LINES) -> list[Place]:
    """The places shown: first and last block and position; those of readings with few blocks, of most and of least."""
    rare = [{block for _, block in reading.at} for reading in readings]
    few = (block for blocks in rare if len(blocks) <= FEW_BLOCKS for block in blocks)
    kept = frozenset(few) | frozenset(block for reading in readings for block in extremes(reading))
    positions = thinned(sorted({position for position, _ in places}), MOST_POSITIONS)
    blocks = thinned(sorted({block for _, block in places}), max(3, most // len(positions)), kept)
    return [(position, block) for position, block in places if position in positions and block in blocks]


def say_thinned(lines: list[Place], places: list[Place]) -> None:
    """That lines were left out, where some were."""
    if len(lines) < len(places):
        say((f"{len(lines)} of {len(places)} lines; ie-store show --all has every line, --json everything", "dim"))


def cell(entry: Entry | None, usual: Outcome | None) -> str:
    """``12.17 +- 0.02``, with its outcome unless that is the column's usual one; a dash where nothing was estimated."""
    if entry is None:
        return f"{'-':>5}"
    outcome, (low, high), value = Outcome(entry["macro_outcome"]), entry["macro_interval_nats"], entry["macro_nats"]
    if None in (low, high, value, entry["macro_ceiling_nats"]):
        return f"{'-':>5} {outcome.value}"
    if outcome is Outcome.EXACT:
        return f"{short_bits(value):>5} exact"
    if outcome is Outcome.ABOVE_CEILING:  # its interval, all that there may be, does not hold it
        return f"{short_bits(value):>5} {outcome.value}"
    reach = max(value - low, high - value)  # an interval that was cut off at the ceiling is as wide as on its other side
    return f"{short_bits(value):>5} +- {short_bits(reach)}{'' if outcome is usual else f' {outcome.value}'}"


def legend(readings: list[Reading]) -> None:
    """What each column is, and what the outcomes in its cells mean."""
    tell(("exact", "bold"), ": all there is to know, counted from tokens; ", ("+-", "bold"), ": half the 95% interval")
    for reading in readings:
        usual = f"; {reading.usual_outcome.value}" if reading.usual_outcome else ""
        row = estimator_row(reading.estimator)
        tell((reading.label, "bold"), f": {filled(row.meaning, reading.options) or row.summary}{usual}")
    found = [Outcome(entry["macro_outcome"]) for reading in readings for entry in reading.at.values()]
    for outcome in dict.fromkeys(outcome for outcome in found if outcome.flagged):
        tell((outcome.value, "bold"), f": {outcome.advice}")


def _emergence_table(reading: Reading) -> None:
    """Every emergence of a reading: its value, and the interval in which the exact one lies as far as its parts tell."""
    scales = " (each slab on its own scale)" if "scale" in reading.options else ""
    table = light_table(f"IE of {reading.label}: macro minus mean micro{scales}, in bits")
    add_columns(table, "block", "position", "exact", "IE", "interval", "micro", justify="right", no_wrap=True)
    add_columns(table, "outcome")
    for (position, block), entry in sorted(reading.at.items()):
        low, high = map(short_bits, entry["interval_nats"])
        values = [short_bits(entry[f"{key}_nats"]) for key in ("ceiling", "ie")]
        add_row(table, str(block), str(position), *values, f"{low} .. {high}", short_bits(entry["micro_nats"]), entry["outcome"])
    console.print(table)


def exact_emergence(entries: list[Entry], everything: bool = False) -> None:
    """Exact E by position, a line for all blocks that share it, and why it is positive."""
    curves: dict[int, dict[int, float]] = {}
    for entry in sorted(entries, key=lambda entry: entry["position"]):
        curves.setdefault(entry["block"], {})[entry["position"]] = entry["ie_nats"]
    if not curves:
        return
    same: dict[tuple[tuple[int, float], ...], list[int]] = {}
    for block, curve in sorted(curves.items()):
        same.setdefault(tuple(curve.items()), []).append(block)
    known = sorted({position for curve in curves.values() for position in curve})
    positions = known if everything else thinned(known, MOST_EXACT)
    table = light_table("Exact IE by position, in bits")
    add_columns(table, "position")
    add_columns(table, *map(str, positions), justify="right")
    for shared, blocks in same.items():
        add_row(table, span(blocks), *(short_bits(dict(shared).get(position)) for position in positions))
    console.print(table)
    if len(positions) < len(known):
        say((f"{len(positions)} of {len(known)} positions; ie-store show --all has every one, --json everything", "dim"))
    tell("The same for all weights that tell prefixes apart. ", _why_positive(entries))


def _why_positive(entries: list[Entry]) -> str:
    known = [entry for entry in entries if entry.get("macro_psi_nats") is not None]
    if not known:
        return EMERGENCE_IS_POSITIVE
    psi = max(known, key=lambda entry: (entry["position"], entry["block"]))["macro_psi_nats"]
    return f"{EMERGENCE_IS_POSITIVE[:-1]}; summed, they give Psi = minus the total correlation, {short_bits(psi)}."


def flags(readings: list[Reading]) -> None:
    """Each sentence once, with the blocks that carry it."""
    found: dict[tuple[str, str], list[int]] = {}
    for reading in readings:
        for (_, block), entry in sorted(reading.at.items()):
            for flag in dict.fromkeys(re.sub(r"^micro, position \d+: ", "micro: ", flag) for flag in entry["flags"]):
                found.setdefault((reading.label, flag), []).append(block)
    for (label, flag), blocks in list(found.items())[:MOST_FLAGS]:
        tell(("flag", "yellow"), f" {label}, {span(sorted(set(blocks)))}: {flag}")
    if len(found) > MOST_FLAGS:
        say(f"and {len(found) - MOST_FLAGS} more flags: see --json")
