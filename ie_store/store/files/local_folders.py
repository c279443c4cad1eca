"""Folders below a store's root as open handles: no symbolic link below the root is ever followed to write or delete.

Each part of a key is opened relative to the handle of the folder above it, so that nobody can put a link in between.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath

from ie_store.errors import StoreError

MISSING = (FileNotFoundError, NotADirectoryError)
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def kind_of(mode: int) -> str:
    """What a file is, for people, from its ``st_mode``."""
    kinds = {
        stat.S_IFREG: "regular file", stat.S_IFDIR: "folder", stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "named pipe",
        stat.S_IFSOCK: "socket", stat.S_IFBLK: "device", stat.S_IFCHR: "device",
    }  # fmt: skip
    return kinds.get(stat.S_IFMT(mode), "special file")


@contextmanager
def folder_of(root: str, key: str, *, create: bool) -> Iterator[tuple[int, str]]:
    """Handle of the folder that holds ``key``, and the key's last part.

    Args:
        root: the store's root; it may be a link, and is made where ``create`` says so.
        key: ``/``-separated, relative to the root.
        create: make missing folders, so that they survive a power cut.

    Raises:
        FileNotFoundError: a folder is missing.
        StoreError: something on the way is not a folder.
    """
    *parts, last = PurePosixPath(key).parts
    if create:
        make_root(root)
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        path = root
        for part in parts:
            path = f"{path}/{part}"
            below = _open_below(handle, part, path, create)
            os.close(handle)
            handle = below
        yield handle, last
    finally:
        os.close(handle)


def _open_below(handle: int, part: str, path: str, create: bool) -> int:
    try:
        return os.open(part, FOLDER_FLAGS, dir_fd=handle)
    except FileNotFoundError:
        if not create:
            raise
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise refused(path, os.lstat(part, dir_fd=handle).st_mode) from None
        raise
    with suppress(FileExistsError):  # another process made it
        os.mkdir(part, dir_fd=handle)
    os.fsync(handle)
    return _open_below(handle, part, path, create=False)


def refused(path: str, mode: int) -> StoreError:
    """The error of something that is not touched."""
    return StoreError(
        f"{path} is a {kind_of(mode)}: below the root of a store no link is followed and nothing but files of the store's own "
        "is written or deleted; move it away, or put what it stands for in its place"
    )


def make_root(path: str) -> None:
    """Create the root and its missing parents so that they survive a power cut."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_root(parent)
    with suppress(FileExistsError):
        os.mkdir(path)
    handle = os.open(parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def explained(action: str, path: str) -> Iterator[None]:
    """What the system refuses, as `StoreError`; a missing file stays `FileNotFoundError`."""
    try:
        yield
    except MISSING:
        raise
    except OSError as error:
        raise explanation(action, path, error) from error


def explanation(action: str, path: str, error: OSError) -> StoreError:
    """The error to raise where the system refused ``action``."""
    return StoreError(f"cannot {action} {path}: {error.strerror or error}; check the path and its permissions")
