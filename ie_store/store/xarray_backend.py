"""The xarray engine ``ie_store``: what is stored as float32 numbers and texts, checked, one Dask chunk per slab.

xarray imports this module whenever it lists its engines, so it stays light.
"""

import json
import os
from typing import TYPE_CHECKING, Any

import xarray as xr
from xarray.backends import BackendEntrypoint

from ie_store.errors import IeStoreError

if TYPE_CHECKING:
    from ie_store.store.dataset.decoded import ShownDtype


class IeStoreBackend(BackendEntrypoint):
    """``xr.open_dataset("STORE/MODEL/CORPUS", engine="ie_store")``."""

    description = "Hidden states of language models, stored by ie-store"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "micro_state", "dtype", "verify")
    supports_groups = True

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: Any = None,
        micro_state: bool = False,
        dtype: "ShownDtype" = "float32",
        verify: bool = True,
    ) -> xr.Dataset:
        """Open dataset STORE/MODEL/CORPUS lazily, with its stored layers and positions only.

        With ``chunks`` labels are Dask arrays as well, and xarray groups by none of those: `ie_store.open_store` loads them.

        Args:
            filename_or_obj: its path.
            drop_variables: names to leave out.
            micro_state: add ``micro_state`` (layer, sequence, position, hidden): micro joined to the sequences by token.
            dtype: ``float32`` or ``stored``, as in `ie_store.open_store`.
            verify: compare all states read with their checksums.

        Raises:
            StoreError: not a dataset, or damaged.
        """
        from ie_store.store.xarray_lazy import lazy_dataset

        dataset = lazy_dataset(os.fspath(filename_or_obj), micro_state, dtype, verify)
        return dataset.drop_vars(drop_variables or [], errors="ignore")

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: Any = None,
        micro_state: bool = False,
        dtype: "ShownDtype" = "float32",
        verify: bool = True,
    ) -> dict[str, xr.Dataset]:
        """Every dataset of the store at a path and all their results, by place in the tree.

        The arguments, and what they raise, are those of `open_dataset`.
        """
        from ie_store.store.xarray_tree import lazy_groups

        groups = lazy_groups(os.fspath(filename_or_obj), micro_state, dtype, verify)
        return {place: group.drop_vars(drop_variables or [], errors="ignore") for place, group in groups.items()}

    def open_datatree(self, filename_or_obj: Any, **options: Any) -> xr.DataTree:
        """``xr.open_datatree("STORE", engine="ie_store")``: as `open_groups_as_dict`, in a tree."""
        return xr.DataTree.from_dict(self.open_groups_as_dict(filename_or_obj, **options))

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """True for the folder of a dataset of ours."""
        try:
            path = os.fspath(filename_or_obj)
            if not os.path.isdir(path):
                return False
            from ie_store.store.files.local import LocalStorage

            return "identity" in json.loads(LocalStorage(path).read("zarr.json") or b"")["attributes"]
        except (IeStoreError, OSError, TypeError, ValueError, KeyError, RecursionError):
            return False
