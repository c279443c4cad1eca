"""Locks of local stores: ``flock`` on a file, which the kernel frees when the process ends, however it ends."""

import errno
import fcntl
import json
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from ie_store.errors import BusyError
from ie_store.store.files.local_folders import explained, folder_of, refused

ATTEMPTS = 100
"""Rounds in which the folder may be removed under our hands."""


class LocalLock:
    """Exclusive hold on a file. `remove` of `forget` lets the owner take the file and its empty folders away."""

    def __init__(self, root: str, key: str, forget: Callable[[str], None]) -> None:
        self._root, self._key, self._forget = root, key, forget
        self._descriptor = self._held(f"{root}/{key}")
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(_myself()).encode(), 0)

    def _held(self, path: str) -> int:
        for attempt in range(ATTEMPTS):
            try:
                with explained("lock", path):
                    descriptor = _open_lock(self._root, self._key)
            except FileNotFoundError:  # another process removed the folder in between: then it is made again
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _holder(descriptor)
                os.close(descriptor)
                raise BusyError(f"{path} is held by a living process ({holder}); wait for it or end it") from None
            if self._still_named(descriptor):
                return descriptor
            os.close(descriptor)
        raise BusyError(f"{path} changes hands all the time; try again")

    def _still_named(self, descriptor: int) -> bool:
        """False where the file was removed between open and lock: then somebody else may lock a new one."""
        try:
            with folder_of(self._root, self._key, create=False) as (folder, last):
                return os.path.samestat(os.lstat(last, dir_fd=folder), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let go."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)  # whoever meets the next holder is not called with us
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Let go for good; once the file is gone another process may lock a new one, so only empty folders go with it."""
        self._forget(self._key)
        self.release()

    def __enter__(self) -> "LocalLock":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def _open_lock(root: str, key: str) -> int:
    """The lock file, made where missing; only those who may write it can open it, so that no reader can hold it."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with folder_of(root, key, create=True) as (folder, last):
        with suppress(FileExistsError):
            made = os.open(last, flags | os.O_CREAT | os.O_EXCL, 0o622, dir_fd=folder)
            mode = stat.S_IMODE(os.fstat(made).st_mode)
            os.fchmod(made, mode | (mode & 0o022) << 1)  # read where there is write, after the user's umask
            os.close(made)
        found = os.lstat(last, dir_fd=folder)
        if found.st_nlink == 0:  # removed while it was looked at
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), last)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise refused(f"{root}/{key}", found.st_mode)
        return os.open(last, flags, dir_fd=folder)


def _myself() -> dict[str, object]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": _started(os.getpid())}


def _started(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None where it does not live or the system does not say."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _holder(descriptor: int) -> str:
    """Who holds a lock: named only where that very process lives on this machine."""
    try:
        told = json.loads(os.pread(descriptor, 1000, 0))
        alive = told["host"] == socket.gethostname() and told["started"] and _started(int(told["pid"])) == told["started"]
        return f"pid {int(told['pid'])} on {told['host']}" if alive else "one that has not said which it is"
    except (ValueError, KeyError, TypeError):
        return "one that has not said which it is"
