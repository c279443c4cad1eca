"""Two datasets of one corpus side by side: what each reading says of both, and by how much they differ.

The interval of a difference runs from low minus high to high minus low. It needs no assumption on how the two erred together,
and it leaves 0 out exactly where the two intervals do not overlap; it holds where both do, so that it misses with the sum of
their probabilities at most.
"""

from typing import Any

from ie_store.errors import InputError
from ie_store.estimators import EXACT
from ie_store.specs import Outcome
from ie_store.store.dataset.handle import Dataset, open_dataset
from ie_store.store.results.show import results_of
from ie_store.store.results.told_apart import Entry, are_apart, is_readable

_SIDE = ("nats", "interval_nats", "outcome", "ceiling_nats")


def show_against(store: str, name: str, against: str) -> dict[str, Any]:
    """The macro values of ``name`` and of ``against``, and their differences.

    Returns:
        ``{"name", "against", "weights", "against_weights", "corpus_fingerprint", "estimates": [...], "alone": [...]}``: an object
        for each result of the same estimator with the same options at the same block and position: ``macro_nats``,
        ``macro_interval_nats``, ``macro_outcome``, ``macro_ceiling_nats``, the same with ``against_`` before them,
        ``difference_nats`` (the former minus the latter) with ``difference_interval_nats``, ``difference_error`` (probability
        that it misses, at most; None where one of the intervals is not proven) and ``apart``. No difference where one of the
        two only says "at least", or worse. And ``"alone"``, an object for each result that one of them alone has at some places:
        ``name``, ``estimator``, ``options``, ``results``, and at how many, ``num_values``.

    Raises:
        InputError: other corpora, or no results in common; it says what differs.
        StoreError, IdentityError: as `show_results`.
    """
    one, other = open_dataset(store, name), open_dataset(store, against)
    _require_one_corpus(one, other)
    mine, theirs = results_of(one), results_of(other)
    others = {_place(entry): entry for entry in theirs["estimates"]}
    pairs = [(entry, others[_place(entry)]) for entry in mine["estimates"] if _place(entry) in others]
    if all(entry["estimator"] == EXACT for entry, _ in pairs):
        raise InputError(
            f"{name} and {against} have no results in common to compare: {name} has {_results(mine)}, "
            f"{against} has {_results(theirs)}; run ie-store estimate on both with the same options, blocks and positions"
        )
    return {
        "name": name,
        "against": against,
        "weights": mine["weights"],
        "against_weights": theirs["weights"],
        "corpus_fingerprint": one.identity.corpus_fingerprint,
        "estimates": [_side_by_side(*pair) for pair in pairs],
        "alone": [
            *_alone(name, mine["estimates"], set(others)),
            *_alone(against, theirs["estimates"], set(map(_place, mine["estimates"]))),
        ],
    }


def _alone(name: str, entries: list[Entry], other_places: set[tuple[str, int, int]]) -> list[dict[str, Any]]:
    """What a dataset has and the other has not, by results."""
    left = [entry for entry in entries if _place(entry) not in other_places]
    first = {entry["results"]: entry for entry in reversed(left)}
    return [
        {
            "name": name,
            **{key: first[results][key] for key in ("estimator", "options", "results")},
            "num_values": sum(entry["results"] == results for entry in left),
        }
        for results in sorted(first)
    ]


def _place(entry: Entry) -> tuple[str, int, int]:
    return entry["results"], entry["block"], entry["position"]


def _results(shown: dict[str, Any]) -> str:
    return ", ".join(sorted({e["results"] for e in shown["estimates"] if e["estimator"] != EXACT})) or "none"


def _side_by_side(one: Entry, other: Entry) -> dict[str, Any]:
    return {
        **{key: one[key] for key in ("estimator", "block", "position", "options", "results")},
        **{f"macro_{key}": one[f"macro_{key}"] for key in _SIDE},
        **{f"against_{key}": other[f"macro_{key}"] for key in _SIDE},
        **difference_of(one, other),
    }


def difference_of(one: Entry, other: Entry) -> dict[str, Any]:
    """The difference of two macro values with its interval and error; none where one of the two may not be read as it is."""
    if not (is_readable(one) and is_readable(other)):
        return {"difference_nats": None, "difference_interval_nats": None, "difference_error": None, "apart": False}
    (low, high), (other_low, other_high) = one["macro_interval_nats"], other["macro_interval_nats"]
    return {
        "difference_nats": one["macro_nats"] - other["macro_nats"],
        "difference_interval_nats": [low - other_high, high - other_low],
        "difference_error": _error(one, other),
        "apart": are_apart(one, other),
    }


def _error(one: Entry, other: Entry) -> float | None:
    errors = [_miss(entry) for entry in (one, other)]
    known = [error for error in errors if error is not None]
    return sum(known) if len(known) == len(errors) else None


def _miss(entry: Entry) -> float | None:
    """Probability, at most, that the interval misses; None where nothing is proven of it."""
    outcome, error = Outcome(entry["macro_outcome"]), entry.get("macro_error")
    return 0.0 if outcome is Outcome.EXACT else error if outcome is Outcome.CERTIFIED else None


def _require_one_corpus(one: Dataset, other: Dataset) -> None:
    corpora = one.attributes.corpus, other.attributes.corpus
    if corpora[0].fingerprint == corpora[1].fingerprint:
        return
    differing = [
        f"{what}: {getattr(corpora[0], what)} and {getattr(corpora[1], what)}"
        for what in ("recipe", "num_sequences", "num_positions")
        if getattr(corpora[0], what) != getattr(corpora[1], what)
    ] or ["the same recipe, with other tokens, labels or source rows, as from another tokenizer or a changed file"]
    raise InputError(
        f"{one.name} and {other.name} are not of one corpus, and only values of the same rows can be compared:\n  "
        + "\n  ".join([*differing, f"fingerprint: {corpora[0].fingerprint[:12]} and {corpora[1].fingerprint[:12]}"])
        + f"\nextract the corpus of {one.name} with the other model, or choose two datasets of one corpus: "
        f"ie-store info {one.files.root} {other.name}"
    )
