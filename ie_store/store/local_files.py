"""Files in a local folder: bytes go to a temporary name, reach the disk, and are renamed. Locks end with their process."""

import errno
import fcntl
import json
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from ie_store.errors import BusyError, DiskSpaceError, StoreError
from ie_store.store.door import TEMPORARY, Buffer

T = TypeVar("T")
LOCK_ATTEMPTS = 100


class LocalFiles:
    """A folder on a local or mounted file system."""

    storage_options: dict[str, Any] | None = None

    def __init__(self, root: str) -> None:
        self.root = str(Path(root).absolute())

    def address(self, key: str = "") -> str:
        """Full path of a key."""
        return f"{self.root}/{key}" if key else self.root

    def write_atomic(self, key: str, pieces: Iterable[Buffer], *, scratch: str | None = None, expected_bytes: int = 0) -> int:
        """Write a file whole or not at all; see `Files`."""
        target = self.address(key)
        folder = os.path.dirname(target) if scratch is None else self.address(scratch)
        temporary = os.path.join(folder, f"{os.path.basename(target)}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
        try:
            _make_folder(folder)
            _make_folder(os.path.dirname(target))
            written = _write_synced(temporary, pieces)
            os.rename(temporary, target)
            _sync_folder(os.path.dirname(target))
        except BaseException as error:
            with suppress(OSError):
                os.unlink(temporary)
            if isinstance(error, OSError):
                raise self._explained(error, target, expected_bytes) from error
            raise
        return written

    def _explained(self, error: OSError, target: str, expected_bytes: int) -> Exception:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            needed = f"up to {expected_bytes:,} bytes" if expected_bytes else "a few more bytes"
            return DiskSpaceError(
                f"no room for {target}: it needs {needed}, {self.free_bytes():,} are free; "
                "free some space and run the same command again: it goes on where it stopped"
            )
        return StoreError(f"cannot write {target}: {error.strerror or error}; check the path and its permissions")

    def read(self, key: str) -> bytes | None:
        """All bytes, or None where there is no such file."""
        try:
            return Path(self.address(key)).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise StoreError(f"cannot read {self.address(key)}: {error.strerror}; check its permissions") from error

    def read_suffix(self, key: str, length: int) -> bytes:
        """The last bytes of a file."""

        def pread(descriptor: int) -> bytes:
            size = os.fstat(descriptor).st_size
            return os.pread(descriptor, length, max(0, size - length))

        return self._opened(key, pread)

    def read_into(self, key: str, start: int, buffers: Sequence[memoryview]) -> None:
        """Fill buffers from one stretch of a file, without a copy in between."""
        total = sum(map(len, buffers))
        done = self._opened(key, lambda descriptor: os.preadv(descriptor, buffers, start))
        while done < total:
            rest = _after(buffers, done)
            count = self._opened(key, lambda descriptor: os.preadv(descriptor, rest, start + done))  # noqa: B023
            if count == 0:
                raise StoreError(
                    f"{self.address(key)} is truncated: bytes {start:,} to {start + total:,} are wanted, "
                    f"it ends at {start + done:,}; run 'ie-store verify', then extract again"
                )
            done += count

    def _opened(self, key: str, read: Callable[[int], T]) -> T:
        path = self.address(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return read(descriptor)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            raise StoreError(f"{path} is missing; run the same extract command again: it writes what is missing") from None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}; check its permissions and the disk") from error

    def size(self, key: str) -> int | None:
        """Bytes of a file, or None."""
        try:
            return os.stat(self.address(key)).st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def list_keys(self, prefix: str) -> Iterator[str]:
        """All files below a folder."""
        top = self.address(prefix)
        for folder, _, names in os.walk(top):
            below = os.path.relpath(folder, self.root)
            yield from (name if below == "." else f"{below}/{name}" for name in names)

    def list_folders(self, prefix: str) -> list[str]:
        """Folders directly below a folder."""
        try:
            with os.scandir(self.address(prefix)) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def delete(self, key: str) -> None:
        """Remove a file durably."""
        path = self.address(key)
        with suppress(FileNotFoundError):
            os.unlink(path)
            _sync_folder(os.path.dirname(path))

    def delete_folder(self, prefix: str) -> None:
        """Remove a folder with all it holds."""
        try:
            shutil.rmtree(self.address(prefix))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StoreError(f"cannot remove {self.address(prefix)}: {error.strerror}; check its permissions") from error

    def free_bytes(self) -> int | None:
        """Bytes free for this user on the disk that holds (or will hold) the store."""
        folder = self.root
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        status = os.statvfs(folder)
        return status.f_bavail * status.f_frsize

    def lock(self, key: str) -> "LocalLock":
        """Hold a lock file."""
        for attempt in range(LOCK_ATTEMPTS):
            try:
                _make_folder(os.path.dirname(self.address(key)))
                return LocalLock(self.address(key))
            except OSError as error:
                # Another process may remove the folder in between: then make it again.
                if not isinstance(error, FileNotFoundError) or attempt == LOCK_ATTEMPTS - 1:
                    raise self._explained(error, self.address(key), 0) from error
        raise AssertionError("unreachable")


class LocalLock:
    """``flock`` on a file: the kernel frees it when the process ends, however it ends."""

    def __init__(self, path: str) -> None:
        self._path = path
        while True:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(self._descriptor, 1000, 0).decode(errors="replace")
                os.close(self._descriptor)
                raise BusyError(
                    f"{path} is held by a living process ({holder or 'just started'}); wait for it or end it"
                ) from None
            if self._still_named():
                break
            os.close(self._descriptor)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)

    def _still_named(self) -> bool:
        """False where the file was removed between open and lock: then somebody else may lock a new one."""
        try:
            return os.stat(self._path).st_ino == os.fstat(self._descriptor).st_ino
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Let go for good; once the file is gone another process may lock a new one, so only empty folders go with it."""
        with suppress(OSError):
            os.unlink(self._path)
            os.removedirs(os.path.dirname(self._path))
        self.release()

    def __enter__(self) -> "LocalLock":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def _after(views: Sequence[memoryview], skip: int) -> list[memoryview]:
    """The buffers without their first ``skip`` bytes."""
    rest: list[memoryview] = []
    for view in views:
        if skip < len(view):
            rest.append(view[skip:])
        skip = max(0, skip - len(view))
    return rest


def _write_synced(path: str, pieces: Iterable[Buffer]) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    total = 0
    try:
        for piece in pieces:
            view = memoryview(piece).cast("B")
            total += len(view)
            while len(view):
                view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return total


def _make_folder(path: str) -> None:
    """Create a folder and its missing parents so that they survive a power cut."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    _make_folder(parent)
    with suppress(FileExistsError):
        os.mkdir(path)
    _sync_folder(parent)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
