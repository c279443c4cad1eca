"""Sentences that read the tables, made from the values. Silent where intervals overlap: what is not told apart is not said.

They speak of the largest position, and of the blocks whose exact value is that of the last block; block 0, whose input knows its
own token alone, has another.
"""

from typing import Any

from ie_store.estimators import estimator_row
from ie_store.store.results.readings import Entry, Reading, filled, is_run, short_bits, span
from ie_store.store.results.told_apart import RESOLUTION_NATS, are_apart, is_readable

Blocks = dict[int, Entry]


def readings_sentences(readings: list[Reading]) -> list[str]:
    """For each reading: where all is left, or else which blocks keep most and least."""
    found = [(reading, _all_of_it(reading) or _most_and_least(reading)) for reading in readings]
    return [_told_apart_from(readings, reading) + sentence for reading, sentence in found if sentence]


def _told_apart_from(readings: list[Reading], reading: Reading) -> str:
    """What begins a sentence that another of ``readings`` could have: options where an estimator ran twice, the position."""
    twice = [one.estimator for one in readings].count(reading.estimator) > 1
    several = len({one.last_position for one in readings}) > 1
    head = [*([reading.label] if twice else []), *([f"position {reading.last_position}"] if several else [])]
    return f"{', '.join(head)}: " if head else ""


def pairs_sentence(readings: list[Reading], told_apart: list[dict[str, Any]]) -> list[str]:
    """The share of pairs of blocks that each reading tells apart; none where there are no pairs."""
    counts = {(count["results"], count["position"]): count for count in told_apart}
    shares = [(reading, counts.get((reading.results, reading.last_position))) for reading in readings]
    parts = [
        f"{reading.label} {count['apart']:,} of {count['pairs']:,} ({count['share']:.0%})"
        for reading, count in shares
        if count is not None and count["pairs"]
    ]
    return [f"Pairs of blocks told apart, by intervals that do not overlap: {', '.join(parts)}."] if parts else []


def against_sentences(mine: list[Reading], theirs: list[Reading], names: tuple[str, str], random: tuple[bool, bool]) -> list[str]:
    """For each reading: how two datasets differ at the last block.

    Args:
        mine: readings of the one dataset.
        theirs: the same readings of the other, in the same order.
        names: of both.
        random: whether the weights of each are random.
    """
    found = [_difference(*pair, names, random) for pair in zip(mine, theirs, strict=True)]
    return [sentence for sentence in found if sentence]


def comparable(reading: Reading) -> Blocks:
    """Readable entries at the largest position whose exact value is the last block's, by rising block."""
    return {block: entry for block, entry in _of_one_ceiling(reading).items() if is_readable(entry)}


def _of_one_ceiling(reading: Reading) -> Blocks:
    """Entries at the largest position whose exact value is the last block's, readable or not."""
    blocks = reading.of_position(reading.last_position)
    ceiling = list(blocks.values())[-1]["macro_ceiling_nats"]
    if ceiling is None:
        return {}
    known = {block: entry for block, entry in blocks.items() if entry["macro_ceiling_nats"] is not None}
    return {b: entry for b, entry in known.items() if abs(entry["macro_ceiling_nats"] - ceiling) < RESOLUTION_NATS}


def extremes(reading: Reading) -> tuple[int, ...]:
    """The blocks with most and with least, where they are told apart; else none."""
    blocks = comparable(reading)
    if not blocks:
        return ()
    most, least = (choose(blocks, key=lambda block: float(blocks[block]["macro_nats"])) for choose in (max, min))
    return (most, least) if are_apart(blocks[most], blocks[least]) else ()


def _all_of_it(reading: Reading) -> str | None:
    """``a linear reader gets all 12.30 bits from block 2 on``."""
    blocks = comparable(reading)
    full = [block for block, entry in blocks.items() if _missing(entry, 0) < RESOLUTION_NATS]
    others = [block for block in blocks if block not in full]
    if not full or full[-1] != list(blocks)[-1] or any(_missing(blocks[block], 1) < RESOLUTION_NATS for block in others):
        return None
    tail = [block for block in full if not others or block > others[-1]]
    to_the_end = [block for block in _of_one_ceiling(reading) if block >= tail[0]] == tail
    where = f"from block {tail[0]} on" if len(tail) > 1 and is_run(tail) and to_the_end else f"in {span(tail)}"
    return _start(reading, f"all {short_bits(blocks[tail[0]]['macro_ceiling_nats'])} bits {where}")


def _missing(entry: Entry, end: int) -> float:
    """What the lower (0) or upper (1) end of an interval lacks of the exact value."""
    return float(entry["macro_ceiling_nats"] - entry["macro_interval_nats"][end])


def _most_and_least(reading: Reading) -> str | None:
    """``under noise of 4 standard deviations block 20 keeps most, 10.6 bits, block 1 least, 8.0``."""
    blocks = comparable(reading)
    ends = extremes(reading)
    if not ends:
        return None
    most, least = (blocks[block] for block in ends)
    with_most, with_least = ([b for b, entry in blocks.items() if not are_apart(entry, one)] for one in (most, least))
    if set(with_most) & set(with_least):
        return None
    digits = _digits(most["macro_nats"], least["macro_nats"])
    high, low = (short_bits(entry["macro_nats"], digits) for entry in (most, least))
    best, worst = _group(with_most, f"{high} bits", "up to "), _group(with_least, low, "down to ")
    keep = "keeps" if len(with_most) == 1 else "keep"
    among = "" if is_run(list(blocks)) and list(blocks) == list(_of_one_ceiling(reading)) else f"of {span(list(blocks))} "
    if head := _condition(reading):
        return f"{head}{', ' if among else ' '}{among}{best[0]} {keep} most, {best[1]}, {worst[0]} least, {worst[1]}."
    return _start(reading, f"{among}most in {best[0]}, {best[1]}, least in {worst[0]}, {worst[1]}")


def _group(blocks: list[int], value: str, reach: str) -> tuple[str, str]:
    """Blocks that are not told apart from an extreme one, and its value."""
    return (span(blocks), value) if len(blocks) == 1 else (f"{span(blocks)} (not told apart)", reach + value)


def _start(reading: Reading, what: str) -> str:
    if head := _condition(reading):
        return f"{head} there are left {what}."
    subject = estimator_row(reading.estimator).subject or f"by {reading.label} there are"
    return f"{subject[0].upper()}{subject[1:]} {what}."


def _condition(reading: Reading) -> str:
    """``Under noise of 4 standard deviations``; nothing where the estimator has none."""
    condition = filled(estimator_row(reading.estimator).condition, reading.options)
    return condition[:1].upper() + condition[1:]


def _difference(mine: Reading, theirs: Reading, names: tuple[str, str], random: tuple[bool, bool]) -> str | None:
    here, there = comparable(mine), comparable(theirs)
    common = [block for block in here if block in there]
    if not common or not are_apart(here[common[-1]], there[common[-1]]):
        return None
    last = common[-1]
    nats = here[last]["macro_nats"] - there[last]["macro_nats"]
    digits = _digits(here[last]["macro_nats"], there[last]["macro_nats"])
    how_much = f"{short_bits(abs(nats), digits)} bits {'more' if nats > 0 else 'fewer'}"
    value, other = (short_bits(blocks[last]["macro_nats"], digits) for blocks in (here, there))
    head = _condition(mine) or f"By {mine.label}"
    if random == (False, True):
        course = _course({block: entry for block, entry in there.items() if block <= last})
        left = f"with random weights what is left {course} {other}"
        return f"{head} {names[0]} keeps {value} bits at block {last}; {left}: training keeps {how_much}."
    return f"{head} {names[0]} keeps {value} bits at block {last}, {names[1]} {other}: {how_much}."


def _digits(nats: float, other: float) -> int:
    """Decimals that tell two values apart, and as few as one."""
    return next((digits for digits in (1, 2, 3) if short_bits(nats, digits) != short_bits(other, digits)), 4)


def _course(blocks: Blocks) -> str:
    """How the values got to that of the last block: what was highest or lowest before is told apart from it."""
    *before, last = blocks.values()
    if any(are_apart(entry, last) and entry["macro_nats"] > last["macro_nats"] for entry in before):
        return "falls to"
    return "rises to" if before and are_apart(before[0], last) else "is"
