"""The one door to bytes: every file of a store is read and written through what `open_storage` gives."""

from ie_store.errors import InputError
from ie_store.store.files.local import LocalStorage
from ie_store.store.files.protocol import Storage

__all__ = ["Storage", "open_storage"]


def open_storage(store: str) -> Storage:
    """The door to ``store``: a local folder, which need not exist yet, or ``s3://BUCKET/PREFIX``, whose bucket must."""
    if store.startswith("s3:"):
        return _open_objects(store)
    if "://" in store:
        raise InputError(f"store {store!r}: only local folders and s3:// addresses are supported; give one of them")
    if not store:
        raise InputError("the store's path is empty; give a folder, for example ./store")
    return LocalStorage(store)


def _open_objects(store: str) -> Storage:
    try:
        from ie_store.store.files.s3 import S3Storage
    except ModuleNotFoundError:
        raise InputError(f"store {store!r} needs the package s3fs; install it with: pip install 'ie-store[s3]'") from None
    return S3Storage(store)
