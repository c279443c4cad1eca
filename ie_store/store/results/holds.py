"""Who may write results, and that the states they belong to stay: the locks of stage two.

The lock of a results group is taken under that of its dataset, which is held for a moment only. Whoever removes or replaces
the dataset holds that lock throughout and takes those of all its results first: so nobody begins to estimate meanwhile, and
nothing is removed while somebody estimates.
"""

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from ie_store.errors import BusyError, StoreError
from ie_store.store.dataset.handle import Dataset, find_dataset
from ie_store.store.dataset.remove import lock_key
from ie_store.store.files.protocol import Lock

T = TypeVar("T")
GATE_SECONDS = 20.0
"""How long we wait for a dataset's own lock; others who begin to estimate hold it for a moment, writers for long."""
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds between two attempts."""


def patiently(take: Callable[[], T], seconds: float) -> T:
    """What ``take`` gives, tried again for up to ``seconds`` while others hold it.

    Raises:
        BusyError: they still do.
    """
    began, pause = monotonic(), FIRST_PAUSE
    while True:
        try:
            return take()
        except BusyError as error:
            waited = monotonic() - began
            if waited >= seconds:
                raise BusyError(f"{error} (waited {waited:.0f} s)") if seconds else error from None
        sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def hold_results(dataset: Dataset, lock_of: str) -> Lock:
    """The lock ``lock_of`` below a dataset's results; while it is held, the dataset is neither removed nor replaced.

    Raises:
        StoreError: the dataset is not, or not any more, the one that was opened; nothing of ours is left in its place.
        BusyError: a living process holds it, or writes the dataset.
    """
    gate = patiently(lambda: dataset.files.lock(lock_key(dataset.name)), GATE_SECONDS)
    try:
        found = find_dataset(dataset.files, dataset.name)
        if found is None:
            gate.remove()
        _require_same(dataset, found)
        return dataset.files.lock(lock_of)
    finally:
        gate.release()


def require_states(dataset: Dataset) -> None:
    """Raise `StoreError` unless a dataset is still the one that was opened; its attributes are read again to see that."""
    _require_same(dataset, find_dataset(dataset.files, dataset.name))


def _require_same(dataset: Dataset, found: Dataset | None) -> None:
    if found is None or found.identity_digest != dataset.identity_digest:
        raise StoreError(
            f"{dataset.address} was {'replaced' if found else 'removed'} meanwhile; nothing more is written: "
            f"look at it with 'ie-store info', then estimate again"
        )
