"""A results group as it lies in the store: its name, whose results it holds, and what is in it."""

from ie_store.errors import IdentityError, StoreError
from ie_store.options import EstimatorSpec, relevant_options
from ie_store.specs import DatasetIdentity, Emergence, MIEstimate, Problem, digest
from ie_store.store.attributes import ResultsAttributes
from ie_store.store.files import Files
from ie_store.store.metadata import read_document, read_group
from ie_store.store.plain import read_plain
from ie_store.store.result_arrays import Arrays, emergences_of, estimates_of


def results_key(name: str, spec: EstimatorSpec) -> str:
    """Key of the group of an estimator's results on dataset ``name``."""
    return f"{name}/estimates/{spec.name}-{digest(relevant_options(spec))[:12]}"


def read_results_group(files: Files, name: str, group: str, identity: DatasetIdentity) -> ResultsAttributes | None:
    """Attributes of a results group of dataset ``name``; None where there is no such group.

    Raises:
        StoreError: damaged, or the results of another estimator.
        IdentityError: computed from other states than those of ``identity``.
    """
    key = f"{name}/estimates/{group}"
    found = read_group(files, key, ResultsAttributes)
    if found is None:
        return None
    if found.activations_digest != digest(identity):
        raise IdentityError(
            f"{files.address(key)} was computed from other activations (digest {found.activations_digest[:12]}, "
            f"the dataset's is {digest(identity)[:12]}); remove that folder and estimate again"
        )
    if group != (named := f"{found.estimator.get('name')}-{digest(found.estimator)[:12]}"):
        raise StoreError(f"{files.address(key)} holds the results of {named}; give it that name back, or remove that folder")
    return found


def read_arrays(files: Files, key: str) -> Arrays:
    """All arrays of a results group that are whole; empty where there is no group."""
    if read_document(files, key) is None:
        return {}
    names = [name for name in files.list_folders(key) if read_document(files, f"{key}/{name}") is not None]
    return {name: read_plain(files, f"{key}/{name}") for name in names}


def contents_of(
    files: Files, key: str, arrays: Arrays, attributes: ResultsAttributes
) -> tuple[dict[Problem, MIEstimate], list[Emergence]]:
    """The estimates and emergences in a results group; `StoreError` where an array is gone."""
    estimator, flags = attributes.estimator["name"], attributes.flags
    try:
        return estimates_of(arrays, flags, estimator), emergences_of(arrays, flags, estimator)
    except KeyError as error:
        raise StoreError(f"{files.address(key)} has no array {error}: remove that folder and estimate again") from error
