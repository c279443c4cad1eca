"""Who may write results, and that the states they belong to stay: the locks of stage two.

The lock of a results group is taken under that of its dataset, which is held for a moment only. Whoever removes or replaces
the dataset holds that lock throughout and takes those of all its results first: so nobody begins to estimate meanwhile, and
nothing is removed while somebody estimates.
"""

from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from ie_store.errors import BusyError, StoreError
from ie_store.specs import DatasetIdentity, digest
from ie_store.store.dataset.remove import lock_key
from ie_store.store.files.protocol import Lock, Storage
from ie_store.store.format.attributes import DatasetAttributes
from ie_store.store.format.metadata import read_dataset

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


def hold_results(files: Storage, name: str, lock_of: str, identity: DatasetIdentity) -> Lock:
    """The lock ``lock_of`` below a dataset's results; while it is held, the dataset is neither removed nor replaced.

    Raises:
        StoreError: the dataset is not, or not any more, the one of that identity; nothing of ours is left in its place.
        BusyError: a living process holds it, or writes the dataset.
    """
    gate = patiently(lambda: files.lock(lock_key(name)), GATE_SECONDS)
    try:
        found = read_dataset(files, name)
        if found is None:
            gate.remove()
        _require_same(files, name, found, identity)
        return files.lock(lock_of)
    finally:
        gate.release()


def require_states(files: Storage, name: str, identity: DatasetIdentity) -> None:
    """Raise `StoreError` unless dataset ``name`` is still the one of that identity."""
    _require_same(files, name, read_dataset(files, name), identity)


def _require_same(files: Storage, name: str, found: DatasetAttributes | None, identity: DatasetIdentity) -> None:
    if found is None or digest(found.identity) != digest(identity):
        raise StoreError(
            f"{files.address(name)} was {'replaced' if found else 'removed'} meanwhile; nothing more is written: "
            f"look at it with 'ie-store info', then estimate again"
        )
