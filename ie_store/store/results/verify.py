"""Checking the results of a dataset: every record, every array, and that the arrays are those that the records make."""

from collections.abc import Iterator

import numpy as np

from ie_store.errors import IdentityError, StoreError
from ie_store.store.dataset.handle import Dataset
from ie_store.store.format.metadata import read_document
from ie_store.store.results.group import REBUILD, RawArrays, is_document, read_contents, result_template
from ie_store.store.results.records import Record, read_record, record_items
from ie_store.store.results.writer import sizes_of
from ie_store.variables import assemble


def results_faults(dataset: Dataset) -> Iterator[str]:
    """One sentence for each fault in the results of a dataset."""
    files = dataset.files
    for group in files.list_folders(dataset.key("estimates")):
        key = dataset.key("estimates", group)
        records: list[Record] = []
        for item in record_items(files, key):
            try:
                records.append(read_record(files, key, item, dataset.identity_digest))
            except StoreError as error:
                yield str(error)
        try:
            found = read_contents(dataset, group)
        except (StoreError, IdentityError) as error:
            yield str(error)
            continue
        if found is not None:
            yield from _differences(dataset, group, records, found[1])


def _differences(dataset: Dataset, group: str, records: list[Record], arrays: RawArrays) -> Iterator[str]:
    """Arrays that are not what the records say, or whose metadata are not what they were."""
    address = dataset.address_of("estimates", group)
    try:
        made = assemble([piece for record in records for piece in record.pieces], sizes_of(dataset.layout))
    except ValueError as error:
        yield f"{address}: its records contradict each other: {error}"
        return
    for array, (variable, values) in made.items():
        where = f"{address}/{array}"
        if array not in arrays or not np.array_equal(arrays[array], values, equal_nan=variable.dtype.startswith("float")):
            yield f"{where} does not hold what was estimated; {REBUILD}"
        elif not is_document(
            read_document(dataset.files, dataset.key("estimates", group, array)), result_template(variable, values).document()
        ):
            yield f"{where}/zarr.json was changed; {REBUILD}"
