"""Variables of a user's own, computed from an opened dataset and kept beside its estimates."""

from collections.abc import Mapping
from typing import Any

import xarray as xr

from ie_store.errors import InputError
from ie_store.store.open import reader_of
from ie_store.store.results.derived import write_variables


def write_derived(
    dataset: xr.Dataset,
    name: str,
    variables: xr.Dataset | Mapping[str, xr.DataArray],
    *,
    lineage: str,
    method: Mapping[str, Any] | None = None,
) -> str:
    """Keep variables that you computed from a dataset in its store, where estimates are kept, bound to its states.

    Values are written once. More of them may be added, layer by layer for example; other values at the same place need
    another ``method``, such as ``{"version": 2}``. `open_estimates` gives them under ``name``, `open_store` below the dataset,
    ``ie-store verify`` checks them, ``ie-store info`` lists them, and ``ie-store rm`` removes them with the dataset.

    Args:
        dataset: what `open_store` gave, or a selection of it.
        name: of the group of results; no estimator's and no profile's.
        variables: by name, each over some of the dimensions of results (`ie_store.variables.DIMENSIONS`): block, layer,
            position, token_position and sequence, at the places that their coordinates say (all of them without one), and sigma,
            label, rank and scale, which may have any numbers as coordinates. The attributes ``long_name``, ``units`` and
            ``lineage`` of a variable are kept.
        lineage: what they are computed from, for people: ``"macro states"``.
        method: JSON values on which they depend, such as a version and options; their digest is part of the group's name.

    Returns:
        The name of the group in the store, NAME-DIGEST.

    Raises:
        InputError: a name, a dimension or a dtype that results cannot have; other values stand there already.
        StoreError: the states were removed or replaced.
        BusyError: a living process writes the same.
    """
    given = {
        str(key): values for key, values in (variables.data_vars if isinstance(variables, xr.Dataset) else variables).items()
    }
    if not isinstance(lineage, str) or not lineage.strip():
        raise InputError("lineage is empty; say what the variables are computed from, for example 'macro states'")
    return write_variables(reader_of(dataset).dataset, name, given, lineage, method or {"version": 1})
