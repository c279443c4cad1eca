"""Which blocks a reading (one group of results) tells apart: a pure function of what ``show`` shows."""

from itertools import combinations
from typing import Any

from ie_store.estimators import EXACT
from ie_store.specs import NATS_PER_BIT, Outcome

RESOLUTION_NATS = 0.01 * NATS_PER_BIT
"""What tables show of a value, 0.01 bit: values nearer than that are not told apart, however narrow their intervals."""
Entry = dict[str, Any]


def told_apart(entries: list[Entry]) -> list[dict[str, Any]]:
    """How many pairs of blocks each reading tells apart by its macro values, by results and position.

    A pair counts where both blocks were estimated and have the same exact value, so that counting tokens cannot tell them
    apart: block 0, whose input knows its own token alone, mostly pairs with none.

    Args:
        entries: as ``show_results`` returns them under ``estimates``.

    Returns:
        ``[{"estimator", "results", "position", "pairs", "apart", "share"}]``; ``share`` is None where there is no pair.
    """
    readings: dict[tuple[str, str, int], list[Entry]] = {}
    for entry in entries:
        if entry["estimator"] != EXACT:
            readings.setdefault((entry["estimator"], entry["results"], entry["position"]), []).append(entry)
    return [
        {"estimator": estimator, "results": results, "position": position, **_count(found)}
        for (estimator, results, position), found in readings.items()
    ]


def _count(entries: list[Entry]) -> dict[str, Any]:
    pairs = [pair for pair in combinations(entries, 2) if _same_ceiling(*pair)]
    apart = sum(are_apart(*pair) for pair in pairs)
    return {"pairs": len(pairs), "apart": apart, "share": apart / len(pairs) if pairs else None}


def _same_ceiling(one: Entry, other: Entry) -> bool:
    ceilings = one["macro_ceiling_nats"], other["macro_ceiling_nats"]
    return None not in ceilings and abs(ceilings[0] - ceilings[1]) < RESOLUTION_NATS


def are_apart(one: Entry, other: Entry) -> bool:
    """True where both macro values can be read as they are, their intervals do not overlap, and a table shows it."""
    if not (is_readable(one) and is_readable(other)):
        return False
    (low, high), (other_low, other_high) = one["macro_interval_nats"], other["macro_interval_nats"]
    far_enough = abs(one["macro_nats"] - other["macro_nats"]) >= RESOLUTION_NATS
    return bool(far_enough and (low > other_high or other_low > high))


def is_readable(entry: Entry) -> bool:
    """True where the macro value has an interval, and an outcome that lets it be read as it is."""
    return not Outcome(entry["macro_outcome"]).flagged and None not in (entry["macro_nats"], *entry["macro_interval_nats"])
