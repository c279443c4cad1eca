"""A whole store as lazy groups: each dataset at MODEL/CORPUS, its results below it."""

import xarray as xr

from ie_store.errors import StoreError
from ie_store.store.catalog import dataset_names, result_groups
from ie_store.store.dataset.decoded import ShownDtype
from ie_store.store.dataset.handle import find_dataset, open_dataset
from ie_store.store.dataset.reader import DatasetReader
from ie_store.store.files.open import open_storage
from ie_store.store.format.metadata import read_document, require_store
from ie_store.store.xarray_lazy import dataset_of, located
from ie_store.store.xarray_results import at_stored, lazy_results


def lazy_groups(path: str, micro_state: bool, dtype: ShownDtype, verify: bool) -> dict[str, xr.Dataset]:
    """Every dataset of the store at ``path``, and all its results, by place in the tree.

    Raises:
        StoreError: not a store, or a dataset or its results are damaged; says which.
        IdentityError: results that were computed from other states than those that stand there.
    """
    files = open_storage(path)
    _require_whole_store(path)
    groups = {"/": xr.Dataset()}
    for name in dataset_names(files):
        if find_dataset(files, name) is None:  # a folder of others, or a creation that was cut off
            continue
        dataset, place = open_dataset(files, name), f"/{name}"
        groups[place] = dataset_of(DatasetReader(dataset, verify), micro_state, dtype)
        for group in result_groups(dataset):
            results = lazy_results(dataset, group)
            if results is not None:
                groups[f"{place}/estimates/{group}"] = at_stored(results, dataset.layout)
    return groups


def _require_whole_store(path: str) -> None:
    """Raise `StoreError` unless ``path`` is a store; where it is a dataset of one, the error says how to open that."""
    files = open_storage(path)
    attributes = (read_document(files, "") or {}).get("attributes")
    if isinstance(attributes, dict) and "identity" in attributes:
        store, name = located(path)
        raise StoreError(f"{path} is a dataset, not a store: open it with open_store({store!r}, {name!r})")
    require_store(files)
    above, _, model = path.rstrip("/").rpartition("/")
    if above and read_document(open_storage(above), "") is not None:
        raise StoreError(f"{path} is the group of a model in the store {above}: open that, or a dataset {model}/CORPUS of it")
