"""ie-store: hidden states of language models in Zarr, and the Information Emergence measured from them.

What people call stands here; ``import ie_store`` stays light, since torch, zarr and xarray are loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ie_store.calls import callable_package as _callable_package
from ie_store.calls import estimate, extract, open_store, profile
from ie_store.errors import IeStoreError
from ie_store.estimators import EstimatorSpec, estimator_spec
from ie_store.profiles import ProfileMethod, profile_method
from ie_store.specs import Emergence, MIEstimate, Outcome

if TYPE_CHECKING:
    from ie_store import plot
    from ie_store.access.derived import write_derived
    from ie_store.estimate.mutual_information import mutual_information
    from ie_store.store.results.open_estimates import open_estimates

__all__ = [
    "Emergence",
    "EstimatorSpec",
    "IeStoreError",
    "MIEstimate",
    "Outcome",
    "ProfileMethod",
    "estimate",
    "estimator_spec",
    "extract",
    "mutual_information",
    "open_estimates",
    "open_store",
    "plot",
    "profile",
    "profile_method",
    "write_derived",
]

_LAZY = {
    "mutual_information": "ie_store.estimate.mutual_information",
    "open_estimates": "ie_store.store.results.open_estimates",
    "write_derived": "ie_store.access.derived",
}

if not TYPE_CHECKING:  # to whoever checks types these are functions, and what is not listed is an error
    estimate, extract = _callable_package("estimate", estimate), _callable_package("extract", extract)

    def __getattr__(name: str) -> Any:
        if name == "plot":
            return import_module("ie_store.plot")
        if name in _LAZY:
            return getattr(import_module(_LAZY[name]), name)
        raise AttributeError(f"module 'ie_store' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
