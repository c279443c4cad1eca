"""The one door to bytes: every file of a store is read and written through what `open_files` gives."""

from ie_store.errors import InputError
from ie_store.store.door import Files
from ie_store.store.local_files import LocalFiles

__all__ = ["Files", "open_files"]


def open_files(store: str) -> Files:
    """The door to ``store``: a local folder, which need not exist yet."""
    if "://" in store:
        raise InputError(f"store {store!r}: only local folders are supported; give a path")
    if not store:
        raise InputError("the store's path is empty; give a folder, for example ./store")
    return LocalFiles(store)
