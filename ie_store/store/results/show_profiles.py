"""The profiles of a dataset, as people and programs read them: what is known of each layer, and of neighbouring layers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.profiles import PROFILE_NAMES, profile_row
from ie_store.store.dataset.handle import Dataset, open_dataset
from ie_store.store.results.group import read_contents


def show_profiles(store: str, name: str) -> dict[str, Any]:
    """Every profile of dataset ``name``.

    Returns:
        ``{"model", "corpus", "profiles": [{"profile", "options", "results", "layers": [...], "blocks": [...]}]}``: ``layers``
        has an object for each layer and position with the names of the profile's variables, and ``flags``; ``blocks`` likewise
        where neighbouring layers were compared. None where a number is unknown; lists over ``rank`` or ``scale``, whose
        values stand beside ``layers``.

    Raises:
        InputError, StoreError: no such store or dataset, or damaged results.
        IdentityError: results that were computed from other states than those that stand there.
    """
    dataset = open_dataset(store, name)
    model, corpus = name.split("/")
    known = [group for group in dataset.files.list_folders(dataset.key("estimates")) if group.rpartition("-")[0] in PROFILE_NAMES]
    shown = [entry for group in known if (entry := _entry(dataset, group))]
    return {"model": model, "corpus": corpus, "profiles": sorted(shown, key=lambda one: PROFILE_NAMES.index(one["profile"]))}


def _entry(dataset: Dataset, group: str) -> dict[str, Any] | None:
    found = read_contents(dataset, group)
    if found is None:
        return None
    attributes, arrays = found
    return {
        "profile": attributes.estimator["name"],
        "options": attributes.estimator,
        "results": group,
        **{axis: arrays[axis].tolist() for axis in ("rank", "scale") if axis in arrays},
        "layers": _places(arrays, attributes.estimator["name"], "layer", attributes.flags),
        "blocks": _places(arrays, attributes.estimator["name"], "block", {}),
    }


def _places(arrays: dict[str, NDArray[Any]], name: str, over: str, flags: dict[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """What is known at each layer (or block) and position, by position."""
    variables = [v.name for v in profile_row(name).variables if v.dimensions[0] == over and v.name in arrays]
    flagged = [tuple(map(int, place.split("/")[1:])) for place in flags]
    known = {tuple(place) for variable in variables for place in _known(arrays[variable])} | set(flagged)
    return [
        {
            over: index,
            "position": position,
            **{variable: _numbers(arrays[variable][index, position]) for variable in variables},
            **({"flags": list(flags.get(f"{over}/{index}/{position}", ()))} if over == "layer" else {}),
        }
        for index, position in sorted(known, key=lambda place: (place[1], place[0]))
    ]


def _known(values: NDArray[Any]) -> list[list[int]]:
    known = np.isfinite(values)
    places: list[list[int]] = np.argwhere(known.reshape(*known.shape[:2], -1).any(axis=2)).tolist()
    return places


def _numbers(values: Any) -> Any:
    """Numbers as JSON has them."""
    if values.ndim:
        return [_numbers(value) for value in values]
    return float(values) if np.isfinite(values) else None
