"""A user's own variables of a dataset, as `ie_store.write_derived` keeps them: what there is, without their values."""

from dataclasses import asdict, dataclass
from typing import Any

from ie_store.store.dataset.handle import Dataset
from ie_store.store.format.metadata import read_document, require_array
from ie_store.store.results.group import read_results_group
from ie_store.store.results.node_names import METHOD_NAMES, node_names
from ie_store.variables import DIMENSIONS


@dataclass(frozen=True, kw_only=True)
class OwnVariable:
    """One variable that a user computed."""

    node: str
    """Under which `open_estimates` gives it."""
    variable: str
    results: str
    """Name of the group of results."""
    dimensions: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    units: str | None
    long_name: str | None
    lineage: str | None
    """What it was computed from."""


def own_variables(dataset: Dataset) -> list[dict[str, Any]]:
    """The `OwnVariable` of a dataset as JSON values, by node and name.

    Raises:
        StoreError: damaged.
        IdentityError: computed from other states than those that stand there.
    """
    found = {group: read_results_group(dataset, group) for group in dataset.files.list_folders(dataset.key("estimates"))}
    whole = {group: attributes for group, attributes in found.items() if attributes and "name" in attributes.estimator}
    called = node_names({group: attributes.estimator for group, attributes in whole.items()})
    return [
        asdict(_described(dataset, group, node, array))
        for group, node in called.items()
        if whole[group].estimator["name"] not in METHOD_NAMES
        for array in sorted(whole[group].checksums)
        if array not in DIMENSIONS
    ]


def _described(dataset: Dataset, group: str, node: str, array: str) -> OwnVariable:
    key = dataset.key("estimates", group, array)
    document, attributes = require_array(dataset.files, key), (read_document(dataset.files, key) or {}).get("attributes")
    texts = {name: found for name, found in (attributes or {}).items() if isinstance(found, str)}
    return OwnVariable(
        node=node,
        variable=array,
        results=group,
        dimensions=tuple(str(dimension) for dimension in document.dimensions or ()),
        shape=document.shape,
        dtype=document.data_type,
        units=texts.get("units"),
        long_name=texts.get("long_name"),
        lineage=texts.get("lineage"),
    )
