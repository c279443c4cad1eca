"""The one door to bytes: every file of a store is read and written through what `open_files` gives."""

from ie_store.errors import InputError
from ie_store.store.door import Files
from ie_store.store.local_files import LocalFiles

__all__ = ["Files", "open_files"]


def open_files(store: str) -> Files:
    """The door to ``store``: a local folder, which need not exist yet, or ``s3://BUCKET/PREFIX``, whose bucket must."""
    if store.startswith("s3:"):
        return _open_objects(store)
    if "://" in store:
        raise InputError(f"store {store!r}: only local folders and s3:// addresses are supported; give one of them")
    if not store:
        raise InputError("the store's path is empty; give a folder, for example ./store")
    return LocalFiles(store)


def _open_objects(store: str) -> Files:
    try:
        from ie_store.store.object_files import ObjectFiles
    except ModuleNotFoundError:
        raise InputError(f"store {store!r} needs the package s3fs; install it with: pip install 'ie-store[s3]'") from None
    return ObjectFiles(store)
