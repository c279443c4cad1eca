"""A group of results as it lies in the store: its name, whose results it holds, and what is in it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import IdentityError, StoreError
from ie_store.estimators import EstimatorSpec
from ie_store.specs import digest
from ie_store.store.dataset.handle import Dataset
from ie_store.store.files.checksum import crc32c
from ie_store.store.files.protocol import Storage
from ie_store.store.format.arrays import ArrayTemplate
from ie_store.store.format.attributes import ResultsAttributes
from ie_store.store.format.metadata import read_document, read_group
from ie_store.store.format.small_arrays import read_plain
from ie_store.variables import Variable

REBUILD = "run the same estimate command again: it puts the arrays together anew from what was estimated"
RawArrays = dict[str, NDArray[Any]]


def results_key(name: str, spec: EstimatorSpec[Any]) -> str:
    """Key of the group of an estimator's results on dataset ``name``."""
    return f"{name}/estimates/{group_name(spec.identity)}"


def group_name(method: Mapping[str, Any]) -> str:
    """``NAME-DIGEST`` of a method (its name and all that changes its results)."""
    return f"{method.get('name')}-{digest(dict(method))[:12]}"


def read_results_group(dataset: Dataset, group: str) -> ResultsAttributes | None:
    """Attributes of a group of a dataset's results; None where there is no such group.

    Raises:
        StoreError: damaged, or the results of another method.
        IdentityError: computed from other states than the dataset's.
    """
    address = dataset.address_of("estimates", group)
    found = read_group(dataset.files, dataset.key("estimates", group), ResultsAttributes)
    if found is None:
        return None
    if found.activations_digest != dataset.identity_digest:
        raise IdentityError(
            f"{address} was computed from other activations (digest {found.activations_digest[:12]}, "
            f"the dataset's is {dataset.identity_digest[:12]}); remove that folder and estimate again"
        )
    if group != group_name(found.estimator):
        raise StoreError(
            f"{address} holds the results of {group_name(found.estimator)}; give it that name back, or remove that folder"
        )
    return found


def read_contents(dataset: Dataset, group: str) -> tuple[ResultsAttributes, RawArrays] | None:
    """Attributes and all arrays of a group of results, each array the one that was put together last.

    Raises:
        StoreError: damaged, an array gone, or arrays of another time.
        IdentityError: as `read_results_group`.
    """
    files, key = dataset.files, dataset.key("estimates", group)
    attributes = read_results_group(dataset, group)
    while attributes is not None:  # another process may write between our reading of attributes and of arrays
        try:
            return attributes, {array: _read(files, key, array, sums) for array, sums in attributes.checksums.items()}
        except StoreError:
            before, attributes = attributes, read_results_group(dataset, group)
            if attributes == before:
                raise
    return None


def read_result(dataset: Dataset, group: str, array: str) -> NDArray[Any]:
    """One array of a group of results, as it was put together last.

    Raises:
        StoreError, IdentityError: as `read_contents`.
    """
    attributes = read_results_group(dataset, group)
    while attributes is not None:
        try:
            return _read(dataset.files, dataset.key("estimates", group), array, attributes.checksums.get(array, ()))
        except StoreError:
            before, attributes = attributes, read_results_group(dataset, group)
            if attributes == before:
                raise
    raise StoreError(f"{dataset.address_of('estimates', group)} was removed meanwhile; open the store again")


def _read(files: Storage, key: str, array: str, checksums: tuple[int, ...]) -> NDArray[Any]:
    where = f"{files.address(key)}/{array}"
    if read_document(files, f"{key}/{array}") is None:
        raise StoreError(f"{files.address(key)} has no array {array!r}; {REBUILD}")
    values = read_plain(files, f"{key}/{array}")
    if checksum_of(values) not in checksums:
        raise StoreError(f"{where} does not hold the values that were put there: it was exchanged; {REBUILD}")
    return values


def checksum_of(values: NDArray[Any]) -> int:
    """crc32c of an array's shape and little-endian values."""
    return crc32c([f"{values.shape}".encode(), values.astype(values.dtype.newbyteorder("<")).tobytes()])


def is_document(found: dict[str, Any] | None, wanted: dict[str, Any]) -> bool:
    """True where an array's document says what it must; attributes that others added count for nothing."""
    attributes = (found or {}).get("attributes")
    if found is None or not isinstance(attributes, dict):
        return False
    return found | {"attributes": {name: attributes.get(name) for name in wanted["attributes"]}} == wanted


def result_template(variable: Variable, values: NDArray[Any]) -> ArrayTemplate:
    """Template of a variable's array: one file, what it is in its attributes."""
    attributes: dict[str, Any] = {"long_name": variable.long_name}
    attributes |= {"units": variable.units} if variable.units else {}
    attributes |= {"lineage": variable.lineage} if variable.lineage else {}
    if variable.flag_meanings:
        attributes["flag_values"] = list(range(-1, len(variable.flag_meanings)))
        attributes["flag_meanings"] = " ".join(["not_estimated", *variable.flag_meanings])
    return ArrayTemplate(
        name=variable.name,
        shape=values.shape,
        chunk_shape=values.shape,
        data_type=variable.dtype,
        fill_value="NaN" if np.isnan(variable.fill) else variable.fill,
        dimensions=variable.dimensions,
        attributes=attributes,
    )
