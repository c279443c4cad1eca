"""Removing a dataset: only files that the store's own format names, never what others put beside them."""

import re
from collections.abc import Iterable

from ie_store.errors import StoreError
from ie_store.store.files.open import open_storage
from ie_store.store.files.protocol import Lock, Storage
from ie_store.store.format.arrays import LOCK_FOLDER, RESERVED, dataset_name
from ie_store.store.format.metadata import read_dataset, read_document, require_store

MOST_NAMED = 5
"""Strange entries that a message names."""
_UNFINISHED = r"(\.[0-9a-f]+|\?uploadId=[^/]+)\.tmp"
_FILE = rf"((zarr\.json|c(/\d+)+)({_UNFINISHED})?|\.lock)"
_RECORD = r"estimates/[^/]+/position/records/[^/]+\.json"
_OURS = re.compile(rf"((ledger|estimates|estimates/[^/]+)/)?([^/]+/)?{_FILE}|{_RECORD}({_UNFINISHED})?")
_TEMPORARY = re.compile(rf"(.*/)?(zarr\.json|\d+|records/[^/]+\.json){_UNFINISHED}")


def lock_key(name: str) -> str:
    """The file whose lock is the right to write or remove dataset ``name``."""
    return f"{name}/{LOCK_FOLDER}/.lock"


def strange_entries(files: Storage, name: str) -> list[str]:
    """Keys below a dataset that its format does not name: links, devices, files and arrays of others.

    Raises:
        StoreError: the dataset's own folder is a link.
    """
    files.require_no_link(name)
    return [
        key for key, kind in files.list_entries(name) if kind != "folder" and (kind == "other" or not _is_ours(files, name, key))
    ]


def is_temporary(key: str) -> bool:
    """True for an unfinished file that a killed writer of ours left."""
    return _TEMPORARY.fullmatch(key) is not None


def _is_ours(files: Storage, name: str, key: str) -> bool:
    inside = key.removeprefix(f"{name}/")
    if _OURS.fullmatch(inside) is None:
        return False
    array = inside.split("/")[0]
    return "/" not in inside or array in RESERVED or inside.endswith(".tmp") or _is_label(files, name, array)


def _is_label(files: Storage, name: str, array: str) -> bool:
    """True for an array that we wrote of one of the source's labels; others may put arrays of their own beside ours."""
    try:
        document = read_document(files, f"{name}/{array}") or {}
    except StoreError:
        return False
    attributes = document.get("attributes")
    long_name = attributes.get("long_name") if isinstance(attributes, dict) else None
    return document.get("dimension_names") == ["sequence"] and str(long_name).startswith(f"label {array} of the source")


def named(files: Storage, keys: Iterable[str]) -> str:
    """The first few entries, for a message."""
    listed = sorted(keys)
    more = f" and {len(listed) - MOST_NAMED} more" if len(listed) > MOST_NAMED else ""
    return ", ".join(files.address(key) for key in listed[:MOST_NAMED]) + more


def wipe_dataset(files: Storage, name: str) -> list[str]:
    """Remove all of a dataset except its lock, the birth certificate first; what was left alone. The caller holds its lock.

    Raises:
        BusyError: a living process estimates from it; nothing is touched.
    """
    held = _hold_results(files, name)
    try:
        files.delete(f"{name}/zarr.json")
        return _wipe_rest(files, name)
    finally:
        for lock in held:
            lock.release()


def _wipe_rest(files: Storage, name: str) -> list[str]:
    strange = set(strange_entries(files, name))
    entries = [(key, kind) for key, kind in files.list_entries(name) if key not in strange and key != lock_key(name)]
    found = [key for key, kind in entries if kind == "file"]
    files.delete(*sorted(found, key=lambda key: key.endswith("/zarr.json")))  # which says to the last that an array is ours
    for key in (key for key, kind in entries if kind == "folder"):
        files.delete_empty_folder(key)
    return sorted(strange)


def _hold_results(files: Storage, name: str) -> list[Lock]:
    """The locks of all results of a dataset; whoever wants one more must hold the dataset's own, which the caller does.

    Raises:
        BusyError: a living process estimates from it; nothing is held.
    """
    held: list[Lock] = []
    try:
        for key, kind in list(files.list_entries(f"{name}/estimates")):
            if kind == "file" and key.endswith("/.lock"):
                held.append(files.lock(key))
    except BaseException:
        for lock in held:
            lock.release()
        raise
    return held


def _leftovers(files: Storage, name: str) -> bool:
    """True where a killed creation or estimate left files of ours, and nothing else is there."""
    return any(files.list_keys(name)) and not strange_entries(files, name)


def remove_dataset(store: str, name: str) -> list[str]:
    """Remove a dataset and all estimates computed from it, or what a killed creation left; the entries left alone.

    Its own ``zarr.json`` goes first, so that no reader ever sees half of it.

    Raises:
        StoreError: nothing of ours stands there, or it is reached through a link.
        BusyError: a living process writes it or estimates from it; nothing is touched.
    """
    files = open_storage(store)
    require_store(files)
    lock_of = lock_key(dataset_name(name))
    files.require_no_link(name)
    if files.size(lock_of) is None and read_dataset(files, name) is None and not _leftovers(files, name):
        raise StoreError(f"{files.address(name)} is not a dataset; 'ie-store ls {store}' lists what is there")
    with files.lock(lock_of) as lock:
        left = wipe_dataset(files, name)
        lock.remove()
        return left
