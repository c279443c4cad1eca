"""What is known of a dataset, as people and programs read it: every emergence beside its exact value."""

from math import isfinite
from typing import Any

from ie_store.errors import StoreError
from ie_store.estimators import NAMES, EstimatorSpec
from ie_store.specs import Emergence, MIEstimate, Problem
from ie_store.store.dataset.handle import Dataset, open_dataset
from ie_store.store.format.attributes import ResultsAttributes
from ie_store.store.results.estimate_variables import emergences_of, estimates_of
from ie_store.store.results.group import REBUILD, group_name, read_contents
from ie_store.store.results.own_variables import own_variables
from ie_store.store.results.told_apart import told_apart


def show_results(store: str, name: str) -> dict[str, Any]:
    """Every emergence estimated on dataset ``name``.

    Returns:
        ``{"model", "corpus", "weights", "estimates": [{"estimator", "block", "position", "ie_nats", "interval_nats",
        "macro_nats", "micro_nats", "ceiling_nats", "outcome", ...}], "told_apart": [...], "derived": [...]}``, by estimator,
        block and position; values in nats, None where unknown or infinite; ``weights`` says whether they were stored or random,
        `told_apart` which share of the pairs of blocks each reading tells apart, ``derived`` which variables of a user's own
        there are (`own_variables`).

    Raises:
        InputError, StoreError: no such store or dataset, or damaged results.
        IdentityError: results that were computed from other states than those that stand there.
    """
    return results_of(open_dataset(store, name))


def results_of(dataset: Dataset) -> dict[str, Any]:
    """As `show_results`, of an open dataset."""
    model, corpus = dataset.name.split("/")
    entries = [e for group in dataset.files.list_folders(dataset.key("estimates")) for e in _entries(dataset, group)]
    weights = dataset.identity.model.weights
    return {
        "model": model,
        "corpus": corpus,
        "weights": weights,
        "estimates": entries,
        "told_apart": told_apart(entries),
        "derived": own_variables(dataset),
    }


def read_results(store: str, name: str, spec: EstimatorSpec[Any]) -> dict[Problem, MIEstimate]:
    """The estimates of ``spec`` on dataset ``name`` as they were put together last; empty where there are none.

    Raises:
        InputError, StoreError, IdentityError: as `show_results`.
    """
    found = read_contents(open_dataset(store, name), group_name(spec.identity))
    return estimates_of(found[1], found[0].flags, spec.name) if found else {}


def _entries(dataset: Dataset, group: str) -> list[dict[str, Any]]:
    found = read_contents(dataset, group)
    if found is None or found[0].estimator.get("name") not in NAMES:
        return []
    attributes, arrays = found
    estimator, flags = attributes.estimator["name"], attributes.flags
    try:
        estimates, emergences = estimates_of(arrays, flags, estimator), emergences_of(arrays, flags, estimator)
        return [_entry(emergence, estimates[_macro(emergence)], attributes, group) for emergence in emergences]
    except (KeyError, IndexError) as error:
        raise StoreError(
            f"{dataset.address_of('estimates', group)} does not hold what belongs there ({error}); {REBUILD}"
        ) from error


def _macro(emergence: Emergence) -> Problem:
    return Problem(level="macro", block=emergence.block, position=emergence.position)


def _entry(emergence: Emergence, macro: MIEstimate, attributes: ResultsAttributes, group: str) -> dict[str, Any]:
    numbers = {f"macro_{name}": _number(value) for name, value in macro.diagnostics.items() if isinstance(value, float)}
    return {
        "estimator": emergence.estimator,
        "block": emergence.block,
        "position": emergence.position,
        "ie_nats": _number(emergence.ie_nats),
        "interval_nats": [_number(end) for end in emergence.interval_nats],
        "standard_error_nats": _number(emergence.standard_error_nats),
        "macro_nats": _number(emergence.macro_nats),
        "micro_nats": _number(emergence.micro_nats),
        "ceiling_nats": _number(emergence.ceiling_nats),
        "outcome": emergence.outcome.value,
        "ceiling_population_nats": _number(emergence.ceiling_population_nats),
        "macro_interval_nats": [_number(end) for end in macro.interval_nats],
        "macro_ceiling_nats": _number(macro.ceiling_nats),
        "macro_outcome": macro.outcome.value,
        "flags": list(emergence.flags),
        "curve_nats": [[_number(low), _number(high)] for low, high in emergence.curve_nats],
        "options": attributes.estimator,
        "results": group,
        **numbers,
    }


def _number(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
