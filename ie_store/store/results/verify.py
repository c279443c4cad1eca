"""Checking the results of a dataset: every record, every array, and that the arrays are those that the records make."""

from collections.abc import Iterator

import numpy as np

from ie_store.errors import IdentityError, StoreError
from ie_store.specs import DatasetIdentity, digest
from ie_store.store.files.open import Storage
from ie_store.store.format.metadata import read_document
from ie_store.store.results.group import REBUILD, RawArrays, read_contents, result_template
from ie_store.store.results.records import Record, read_record, record_items
from ie_store.store.results.writer import sizes_of
from ie_store.variables import assemble


def results_faults(files: Storage, name: str, identity: DatasetIdentity) -> Iterator[str]:
    """One sentence for each fault in the results of dataset ``name``."""
    for group in files.list_folders(f"{name}/estimates"):
        key = f"{name}/estimates/{group}"
        records: list[Record] = []
        for item in record_items(files, key):
            try:
                records.append(read_record(files, key, item, digest(identity)))
            except StoreError as error:
                yield str(error)
        try:
            found = read_contents(files, name, group, identity)
        except (StoreError, IdentityError) as error:
            yield str(error)
            continue
        if found is not None:
            yield from _differences(files, key, records, found[1], identity)


def _differences(files: Storage, key: str, records: list[Record], arrays: RawArrays, identity: DatasetIdentity) -> Iterator[str]:
    """Arrays that are not what the records say, or whose metadata are not what they were."""
    try:
        made = assemble([piece for record in records for piece in record.pieces], sizes_of(identity))
    except ValueError as error:
        yield f"{files.address(key)}: its records contradict each other: {error}"
        return
    for array, (variable, values) in made.items():
        where = f"{files.address(key)}/{array}"
        if array not in arrays or not np.array_equal(arrays[array], values, equal_nan=variable.dtype.startswith("float")):
            yield f"{where} does not hold what was estimated; {REBUILD}"
        elif read_document(files, f"{key}/{array}") != result_template(variable, values).document():
            yield f"{where}/zarr.json was changed; {REBUILD}"
