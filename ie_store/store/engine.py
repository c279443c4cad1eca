"""The xarray engine ``ie_store``: the same data as plain Zarr, one Dask chunk per slab, bfloat16 decoded.

xarray imports this module whenever it lists its engines, so it stays light.
"""

import json
import os
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint


class IeStoreBackend(BackendEntrypoint):
    """``xr.open_dataset("STORE/MODEL/CORPUS", engine="ie_store")``."""

    description = "Hidden states of language models, stored by ie-store"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "micro_state")

    def open_dataset(self, filename_or_obj: Any, *, drop_variables: Any = None, micro_state: bool = False) -> xr.Dataset:
        """Open dataset STORE/MODEL/CORPUS lazily.

        Args:
            filename_or_obj: its path.
            drop_variables: names to leave out.
            micro_state: add ``micro_state`` (layer, sequence, position, hidden): micro joined to the sequences by token.

        Raises:
            StoreError: not a dataset.
        """
        from ie_store.store.lazy import lazy_dataset

        dataset = lazy_dataset(os.fspath(filename_or_obj), micro_state)
        return dataset.drop_vars(drop_variables or [], errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """True for the folder of a dataset of ours."""
        try:
            with open(os.path.join(os.fspath(filename_or_obj), "zarr.json"), encoding="utf-8") as file:
                return "identity" in json.load(file)["attributes"]
        except (OSError, TypeError, ValueError, KeyError):
            return False
