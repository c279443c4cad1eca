"""What the store asks of a place that keeps bytes. Keys are ``/``-separated and relative to the store's root.

Whatever the place, no reader is ever shown half a file.
"""

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol

Buffer = Any
"""Anything with a contiguous buffer: bytes, memoryview, C-contiguous array."""
MOST_DOCUMENT_BYTES = 2**24
"""Of a metadata document: sessions and flags of thousands of problems fit many times over."""
TEMPORARY = ".tmp"
"""How the names of unfinished files end."""


class Lock(Protocol):
    """Exclusive hold on a key, until released or until its process dies."""

    def release(self) -> None:
        """Let go."""

    def remove(self) -> None:
        """Let go for good: remove the key too, and the folders above it that it leaves empty."""

    def __enter__(self) -> "Lock": ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Storage(Protocol):
    """What the store asks of a place that keeps bytes."""

    root: str
    storage_options: dict[str, Any] | None
    """What zarr hands to fsspec with an address; None where addresses are local paths."""

    def address(self, key: str = "") -> str:
        """Full path or URL of a key, for messages and for zarr."""

    def write_atomic(self, key: str, pieces: Iterable[Buffer], *, scratch: str | None = None, expected_bytes: int = 0) -> int:
        """Write ``pieces`` one after another as ``key``, whole or not at all; bytes written.

        Args:
            key: where.
            pieces: buffers, taken one at a time.
            scratch: folder key for the temporary name, where the key's own folder must hold nothing else (a Zarr group's).
            expected_bytes: upper limit of the sum, for the message when the disk is full.

        Raises:
            DiskSpaceError: no room; nothing is left behind.
        """

    def read(self, key: str, most_bytes: int = MOST_DOCUMENT_BYTES) -> bytes | None:
        """All bytes of ``key``; None where there is no such key, `StoreError` where it has more than ``most_bytes``."""

    def read_suffix(self, key: str, length: int) -> bytes:
        """The last ``length`` bytes (fewer where the file is shorter)."""

    def read_into(self, key: str, start: int, buffers: Sequence[memoryview], behind: bytes | None = None) -> int:
        """Fill byte views ``buffers``, in order, from byte ``start`` on; `StoreError` where the file ends before.

        Returns:
            CRC-32C of ``behind`` and then what was read, summed while it lies in cache; 0 where ``behind`` is None.
        """

    def in_memory(self, key: str, start: int) -> bool:
        """True where byte ``start`` of ``key`` is read without waiting for a disk or a network, as far as can be told."""

    def size(self, key: str) -> int | None:
        """Bytes of ``key``; None where there is no such key."""

    def list_keys(self, prefix: str) -> Iterator[str]:
        """All keys below a folder, temporaries too, one at a time and in no order."""

    def list_entries(self, prefix: str) -> Iterator[tuple[str, str]]:
        """All that stands below a folder: key and ``file``, ``folder`` (after what it holds) or ``other`` (links, devices)."""

    def list_folders(self, prefix: str) -> list[str]:
        """Names of the folders directly below a folder, sorted."""

    def delete(self, *keys: str) -> None:
        """Remove files; durable; no error where one is missing, `StoreError` for anything but a file."""

    def require_no_link(self, key: str) -> None:
        """Raise `StoreError` where a link, or anything else but folders, stands in the place of ``key`` or above it."""

    def delete_empty_folder(self, key: str) -> None:
        """Remove a folder that holds nothing; one that holds something stays."""

    def free_bytes(self) -> int | None:
        """Bytes that may still be written; None where there is no limit to know."""

    def lock(self, key: str) -> Lock:
        """Hold ``key`` exclusively; `BusyError` where a living process holds it."""
