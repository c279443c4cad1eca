"""Files in a local folder: bytes go to a temporary name, reach the disk, and are renamed. Locks end with their process.

Reading follows links and opens regular files only; writing and deleting never follow a link below the root.
"""

import errno
import os
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from awscrt.checksums import crc32c

from ie_store.errors import REPAIR, DiskSpaceError, StoreError
from ie_store.store.files.local_folders import MISSING, explained, explanation, folder_of, kind_of, refused
from ie_store.store.files.local_lock import LocalLock
from ie_store.store.files.protocol import MOST_DOCUMENT_BYTES, TEMPORARY, Buffer

T = TypeVar("T")
STRETCH_BYTES = 9 * 2**16
"""Read, then summed, at once: what lies well in a core's cache. Shorter ones gain less there than they lose in waiting for
Python's lock: two threads reach 0.70 of the unchecked speed with 296 KiB, 0.78 with this, 0.74 with 1,200
(``slab_read.py``)."""
NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)
"""Read only what the page cache holds; None where the system cannot."""
READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class LocalStorage:
    """A folder on a local or mounted file system."""

    storage_options: dict[str, Any] | None = None

    def __init__(self, root: str) -> None:
        self.root = str(Path(root).absolute())

    def address(self, key: str = "") -> str:
        """Full path of a key."""
        return f"{self.root}/{key}" if key else self.root

    def write_atomic(self, key: str, pieces: Iterable[Buffer], *, scratch: str | None = None, expected_bytes: int = 0) -> int:
        """Write a file whole or not at all; see `Storage`."""
        name = f"{key.rpartition('/')[2]}.{uuid.uuid4().hex[:8]}{TEMPORARY}"
        temporary = f"{key.rpartition('/')[0] if scratch is None else scratch}/{name}".lstrip("/")
        try:
            with folder_of(self.root, temporary, create=True) as (from_folder, _):
                try:
                    written = _write_synced(name, from_folder, pieces)
                    with folder_of(self.root, key, create=True) as (folder, last):
                        os.rename(name, last, src_dir_fd=from_folder, dst_dir_fd=folder)
                        os.fsync(folder)
                except BaseException:
                    with suppress(OSError):
                        os.unlink(name, dir_fd=from_folder)
                    raise
        except OSError as error:
            raise self._explained(error, self.address(key), expected_bytes) from error
        return written

    def _explained(self, error: OSError, target: str, expected_bytes: int) -> Exception:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            needed = f"up to {expected_bytes:,} bytes" if expected_bytes else "a few more bytes"
            return DiskSpaceError(
                f"no room for {target}: it needs {needed}, {self.free_bytes():,} are free; "
                "free some space and run the same command again: it goes on where it stopped"
            )
        return StoreError(f"cannot write {target}: {error.strerror or error}; check the path and its permissions")

    def read(self, key: str, most_bytes: int = MOST_DOCUMENT_BYTES) -> bytes | None:
        """All bytes, or None where there is no such file."""

        def whole(descriptor: int) -> bytes:
            size = os.fstat(descriptor).st_size
            if size > most_bytes:
                raise StoreError(f"{self.address(key)} has {size:,} bytes; it can hold at most {most_bytes:,}: it is not ours")
            with os.fdopen(os.dup(descriptor), "rb") as file:
                return file.read(size)

        try:
            return self._opened(key, whole)
        except MISSING:
            return None

    def read_suffix(self, key: str, length: int) -> bytes:
        """The last bytes of a file."""

        def pread(descriptor: int) -> bytes:
            size = os.fstat(descriptor).st_size
            return os.pread(descriptor, length, max(0, size - length))

        return self._present(key, pread)

    def read_into(self, key: str, start: int, buffers: Sequence[memoryview], behind: bytes | None = None) -> int:
        """Fill buffers from one stretch of a file, without a copy in between; see `Storage`."""

        def read(descriptor: int) -> int:
            if behind is None:
                self._fill(descriptor, key, start, buffers)
                return 0
            # Each call here gives Python's lock up, and a thread that waits for it sleeps: few calls, little between them.
            *heads, body = buffers
            first = body[:STRETCH_BYTES]
            at = start + self._fill(descriptor, key, start, [*heads, first])
            value: int = crc32c(first, crc32c(b"".join([behind, *heads])))
            for done in range(STRETCH_BYTES, len(body), STRETCH_BYTES):
                stretch = body[done : done + STRETCH_BYTES]
                at += self._fill(descriptor, key, at, [stretch])
                value = crc32c(stretch, value)
            return value

        return self._present(key, read)

    def in_memory(self, key: str, start: int) -> bool:
        """True where the page cache holds a byte; see `Storage`."""

        def probe(descriptor: int) -> bool:
            if NOWAIT is None:
                return False
            try:
                return os.preadv(descriptor, [bytearray(1)], start, NOWAIT) == 1
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno == errno.EOPNOTSUPP:  # a file system that cannot tell
                    return False
                raise

        return self._present(key, probe)

    def _fill(self, descriptor: int, key: str, start: int, buffers: Sequence[memoryview]) -> int:
        """Fill buffers from byte ``start`` on; their bytes."""
        total = sum(map(len, buffers))
        done = os.preadv(descriptor, buffers, start)
        while done < total:
            count = os.preadv(descriptor, _after(buffers, done), start + done)
            if count == 0:
                raise StoreError(
                    f"{self.address(key)} is truncated: bytes {start:,} to {start + total:,} are wanted, "
                    f"it ends at {start + done:,}; {REPAIR}"
                )
            done += count
        return total

    def _present(self, key: str, read: Callable[[int], T]) -> T:
        try:
            return self._opened(key, read)
        except MISSING:
            path = self.address(key)
            raise StoreError(f"{path} is missing; run the same extract command again: it writes what is missing") from None

    def _opened(self, key: str, read: Callable[[int], T]) -> T:
        """What ``read`` makes of a regular file; a pipe or a device is opened without waiting for it, and refused."""
        path = self.address(key)
        try:
            descriptor = os.open(path, READ_FLAGS)
            try:
                _require_regular(path, os.fstat(descriptor).st_mode)
                return read(descriptor)
            finally:
                os.close(descriptor)
        except MISSING:
            raise
        except OSError as error:
            raise explanation("read", path, error) from error

    def size(self, key: str) -> int | None:
        """Bytes of a file, or None."""
        path = self.address(key)
        try:
            with explained("look at", path):
                found = os.stat(path)
        except MISSING:
            return None
        _require_regular(path, found.st_mode)
        return found.st_size

    def list_keys(self, prefix: str) -> Iterator[str]:
        """All regular files below a folder."""
        yield from (key for key, kind in self.list_entries(prefix) if kind == "file")

    def list_entries(self, prefix: str) -> Iterator[tuple[str, str]]:
        """What stands below a folder, links not followed: key, and ``file``, ``folder`` (after what it holds) or ``other``."""
        try:
            with explained("list", self.address(prefix)), os.scandir(self.address(prefix)) as found:
                entries = list(found)
        except MISSING:
            return
        for entry in entries:
            key = f"{prefix}/{entry.name}".lstrip("/")
            if entry.is_dir(follow_symlinks=False):
                yield from self.list_entries(key)
                yield key, "folder"
            else:
                yield key, "file" if entry.is_file(follow_symlinks=False) else "other"

    def list_folders(self, prefix: str) -> list[str]:
        """Folders directly below a folder."""
        try:
            with explained("list", self.address(prefix)), os.scandir(self.address(prefix)) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except MISSING:
            return []

    def require_no_link(self, key: str) -> None:
        """Raise `StoreError` where a link stands in the place of a folder or above it."""
        with (
            suppress(*MISSING),
            explained("open", self.address(key)),
            folder_of(self.root, f"{key}/.", create=False),
        ):
            pass

    def delete(self, *keys: str) -> None:
        """Remove regular files durably."""
        for key in keys:
            self._delete(key)

    def _delete(self, key: str) -> None:
        path = self.address(key)
        with suppress(FileNotFoundError), explained("remove", path), folder_of(self.root, key, create=False) as (folder, last):
            mode = os.lstat(last, dir_fd=folder).st_mode
            if not stat.S_ISREG(mode):
                raise refused(path, mode)
            os.unlink(last, dir_fd=folder)
            os.fsync(folder)

    def delete_empty_folder(self, key: str) -> None:
        """Remove a folder that holds nothing; one that holds something stays."""
        with suppress(OSError), folder_of(self.root, key, create=False) as (folder, last):
            os.rmdir(last, dir_fd=folder)

    def free_bytes(self) -> int | None:
        """Bytes free for this user on the disk that holds (or will hold) the store."""
        folder = self.root
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        status = os.statvfs(folder)
        return status.f_bavail * status.f_frsize

    def lock(self, key: str) -> LocalLock:
        """Hold a lock file."""
        is_new = not os.path.isdir(self.root)
        try:
            return LocalLock(self.root, key, partial(self._forget, with_root=is_new))
        except OSError as error:
            raise self._explained(error, self.address(key), 0) from error

    def _forget(self, key: str, with_root: bool) -> None:
        """Remove a lock file and the folders above it that it leaves empty; the root only where it was made for the lock."""
        with suppress(OSError, StoreError):
            self.delete(key)
        while key := key.rpartition("/")[0]:
            self.delete_empty_folder(key)
        if with_root:
            with suppress(OSError):
                os.rmdir(self.root)


def _require_regular(path: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path} is a {kind_of(mode)}, not a regular file, and is not read; move it away, then {REPAIR}")


def _after(views: Sequence[memoryview], skip: int) -> list[memoryview]:
    """The buffers without their first ``skip`` bytes."""
    rest: list[memoryview] = []
    for view in views:
        if skip < len(view):
            rest.append(view[skip:])
        skip = max(0, skip - len(view))
    return rest


def _write_synced(name: str, folder: int, pieces: Iterable[Buffer]) -> int:
    """Write a new file ``name`` in the folder of that handle, down to the disk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o644, dir_fd=folder)
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
