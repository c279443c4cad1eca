"""The results of a dataset by the name of what made them: a tree with a node for each estimator and each profile."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ie_store.errors import InputError, StoreError
from ie_store.printable import printable
from ie_store.specs import Outcome
from ie_store.store.dataset.handle import Dataset, open_dataset
from ie_store.store.format.attributes import ResultsAttributes
from ie_store.store.format.metadata import read_document, require_array
from ie_store.store.results.estimate_variables import IE, IE_MICRO, OUTCOME_NAMES, QUANTITIES
from ie_store.store.results.group import REBUILD, read_contents
from ie_store.store.results.method_label import method_label
from ie_store.store.results.node_names import node_names

if TYPE_CHECKING:
    import pandas as pd

_FLAGGED = {"block": "ie", "layer": "layer"}
"""How the places begin whose flags are shown over a dimension."""
_OF_QUANTITIES = tuple(
    variable.name
    for found in (QUANTITIES["macro"], QUANTITIES["micro"], IE)
    for variable in (found.value, found.low, found.high, found.error, found.ceiling, found.ceiling_population, found.outcome)
)
_SHARED = (*_OF_QUANTITIES, IE_MICRO.name, "flags")
"""What every estimator's node has, first and in this order."""


class Estimates(xr.DataTree):  # type: ignore[no-untyped-call]  # of xarray's own __init_subclass__
    """A tree of results: ``estimates["noise"].mi_macro`` is over (block, position), in nats."""

    __slots__ = ()

    def to_dataframe(self, *dimensions: str) -> "pd.DataFrame":
        """One row for each place that has a value, indices as columns.

        Of the whole tree: a row for each estimator, block and position, with what all estimators have. Of a node: its variables
        over (block, position), of a profile over (layer, position), or those over ``dimensions``, such as ``"layer",
        "position", "sigma"``. What was selected by one label is a column still.

        Raises:
            InputError: nothing is over these dimensions.
        """
        import pandas as pd

        if self.data_vars:
            return _frame(self.to_dataset(), dimensions or _grid_of(self.to_dataset()))
        nodes = {name: node.to_dataset() for name, node in self.children.items()}
        if not dimensions:
            nodes = {name: found[list(_SHARED)] for name, found in nodes.items() if IE.value.name in found}
        over = dimensions or ("block", "position")
        frames = {name: _frame(found, over) for name, found in nodes.items() if _numbers_over(found, over)}
        if not frames:
            raise InputError(f"nothing is over ({', '.join(over)}) in {', '.join(self.children) or 'an empty tree'}")
        whole = pd.concat(frames, names=["estimator"])
        return whole.reset_index("estimator").reset_index(drop=True)


def _grid_of(found: xr.Dataset) -> tuple[str, str]:
    return ("layer" if IE.value.name not in found and "layer" in found.coords else "block", "position")


def _numbers_over(found: xr.Dataset, dimensions: tuple[str, ...]) -> list[Any]:
    """Numbers over these dimensions, of which some may have been selected away: they are single coordinates then."""
    if not all(dimension in found.dims or dimension in found.coords for dimension in dimensions):
        return []
    left = [dimension for dimension in dimensions if dimension in found.dims]
    return [name for name, variable in found.data_vars.items() if list(variable.dims) == left and variable.dtype.kind == "f"]


def _frame(found: xr.Dataset, dimensions: tuple[str, ...]) -> "pd.DataFrame":
    numbers = _numbers_over(found, dimensions)
    if not numbers:
        raise InputError(
            f"nothing is over ({', '.join(dimensions)}); there are variables over {'; '.join(_all_dimensions(found))}"
        )
    like = found[numbers[0]].dims
    chosen = found[[name for name, variable in found.data_vars.items() if variable.dims == like]]
    chosen = chosen if like else chosen.expand_dims("place")
    frame = chosen.to_dataframe(dim_order=like or ["place"]).reset_index().drop(columns="place", errors="ignore")
    return frame.dropna(how="all", subset=numbers).reset_index(drop=True)


def _all_dimensions(found: xr.Dataset) -> list[str]:
    return sorted({f"({', '.join(map(str, variable.dims))})" for variable in found.data_vars.values()})


def open_estimates(store: str | os.PathLike[str], name: str) -> Estimates:
    """All results of dataset ``name``, by the name of the estimator or profile that made them.

    ``estimates["noise"]`` is what `noise` found, with its variables as they are stored: information in nats over (block,
    position), curves over (layer, position, sigma), and so on, NaN where nothing was estimated; outcomes and flags as texts,
    empty there. ``estimates.to_dataframe()`` is one table of all estimators. Where one estimator ran with several options, the
    plain name is that of its defaults, and the others are called ``noise (sigma 2)``.

    Args:
        store: the store's folder or address.
        name: MODEL/CORPUS.

    Returns:
        A tree whose attributes say of which store, dataset, model and corpus it is; each node's say ``label``, ``options``
        (JSON) and ``results``, the group in the store.

    Raises:
        InputError: no such dataset, or one without results.
        StoreError, IdentityError: damaged results, or results of other states.
    """
    store = os.fspath(store)
    dataset = open_dataset(store, name)
    groups = dict(_groups(dataset))
    names = node_names({group: attributes.estimator for group, (attributes, _) in groups.items()})
    nodes = {called: groups[group][1] for group, called in names.items()}
    if not nodes:
        raise InputError(f"{name} has no estimates yet; make some with: ie-store estimate {store} {name}")
    model, corpus = dataset.attributes.identity.model, dataset.attributes.corpus
    attributes = {
        "store": store,
        "name": name,
        "model": model.id,
        "weights": model.weights,
        "corpus": corpus.recipe,
        "corpus_fingerprint": corpus.fingerprint,
        "num_sequences": corpus.num_sequences,
    }
    return Estimates.from_dict({"/": xr.Dataset(attrs=attributes), **nodes})


def _groups(dataset: Dataset) -> Iterator[tuple[str, tuple[ResultsAttributes, xr.Dataset]]]:
    for group in dataset.files.list_folders(dataset.key("estimates")):
        if (found := read_contents(dataset, group)) is not None and "name" in found[0].estimator:
            yield group, (found[0], _node(dataset, group, *found))


def _node(dataset: Dataset, group: str, attributes: ResultsAttributes, arrays: Mapping[str, NDArray[Any]]) -> xr.Dataset:
    key = dataset.key("estimates", group)
    options = {name: value for name, value in attributes.estimator.items() if name != "name"}
    described = {"label": method_label(attributes.estimator), "options": json.dumps(options), "results": group}
    try:
        variables = {name: _variable(dataset, f"{key}/{name}", values) for name, values in arrays.items()}
        if IE.value.name in arrays or attributes.flags:
            variables["flags"] = _flags(attributes, "block" if IE.value.name in arrays else "layer")
        coordinates = {name: found for name, found in variables.items() if found.dims == (name,)}
        names = [name for name in (*_SHARED, *variables) if name in variables and name not in coordinates]
        return xr.Dataset({name: variables[name] for name in names}, coords=coordinates, attrs=described)
    except (ValueError, IndexError) as error:
        raise StoreError(f"{dataset.files.address(key)} does not fit together ({error}); {REBUILD}") from error


def _variable(dataset: Dataset, key: str, values: NDArray[Any]) -> xr.Variable:
    dimensions = require_array(dataset.files, key).dimensions
    document = read_document(dataset.files, key) or {}
    if dimensions is None or None in dimensions:
        raise ValueError(f"{key} does not say its dimensions")
    found = document.get("attributes")
    texts = found if isinstance(found, dict) else {}
    attributes = {name: printable(texts[name]) for name in ("long_name", "units", "lineage") if isinstance(texts.get(name), str)}
    return xr.Variable(dimensions, _outcomes(key, values) if _is_outcome(key) else values, attributes)


def _is_outcome(key: str) -> bool:
    return key.rpartition("/")[2] in OUTCOME_NAMES


def _outcomes(key: str, codes: NDArray[Any]) -> NDArray[np.str_]:
    """Codes as the words of `Outcome`; empty where nothing was estimated."""
    if not bool(((codes >= -1) & (codes < len(Outcome))).all()):
        raise ValueError(f"{key} holds codes that stand for no outcome")
    words: NDArray[np.str_] = np.array([*(outcome.value for outcome in Outcome), ""])
    return words.take(codes, mode="wrap")


def _flags(attributes: ResultsAttributes, over: str) -> xr.Variable:
    """What the input checks said, over (block, position) or (layer, position)."""
    prefix = f"{_FLAGGED[over]}/"
    texts = {place: "; ".join(map(printable, found)) for place, found in attributes.flags.items() if place.startswith(prefix)}
    shape = (attributes.num_blocks + (over == "layer"), attributes.num_positions)
    values = np.full(shape, "", dtype=f"<U{max(map(len, texts.values()), default=1)}")
    for place, text in texts.items():
        _, index, position = place.split("/")
        values[int(index), int(position)] = text
    return xr.Variable((over, "position"), values, {"long_name": "what the input checks said"})
