"""ie-store: hidden states of language models in Zarr, and the Information Emergence measured from them.

`open_store`, `open_estimates` and `mutual_information` are loaded on first use, so that ``import ie_store`` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ie_store.errors import IeStoreError
from ie_store.estimators import EstimatorSpec, estimator_spec
from ie_store.specs import Emergence, MIEstimate, Outcome

if TYPE_CHECKING:
    from ie_store.estimate.mutual_information import mutual_information
    from ie_store.store.open import open_store
    from ie_store.store.results.open_estimates import open_estimates

__all__ = [
    "Emergence",
    "EstimatorSpec",
    "IeStoreError",
    "MIEstimate",
    "Outcome",
    "estimator_spec",
    "mutual_information",
    "open_estimates",
    "open_store",
]

_LAZY = {
    "mutual_information": "ie_store.estimate.mutual_information",
    "open_estimates": "ie_store.store.results.open_estimates",
    "open_store": "ie_store.store.open",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'ie_store' has no attribute {name!r}")
