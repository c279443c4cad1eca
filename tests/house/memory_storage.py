"""A storage backend: files in this process's memory. docs/architecture.md shows where it goes."""

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from ie_store.errors import BusyError, StoreError
from ie_store.store.files.checksum import crc32c
from ie_store.store.files.protocol import MOST_DOCUMENT_BYTES, Buffer

SCHEME = "memory://"
_STORES: dict[str, dict[str, bytes]] = {}
_HELD: set[str] = set()


class MemoryLock:
    """A name in a set."""

    def __init__(self, address: str) -> None:
        if address in _HELD:
            raise BusyError(f"{address} is held; wait for it or end it")
        _HELD.add(address)
        self._address = address

    def release(self) -> None:
        """Let go."""
        _HELD.discard(self._address)

    def remove(self) -> None:
        """Let go for good."""
        self.release()

    def __enter__(self) -> "MemoryLock":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


class MemoryStorage:
    """A dictionary from full addresses to bytes."""

    storage_options: dict[str, Any] | None

    def __init__(self, root: str) -> None:
        self.root, self.storage_options = root.rstrip("/"), {}
        self._files = _STORES.setdefault(self.root.removeprefix(SCHEME).split("/")[0], {})

    def address(self, key: str = "") -> str:
        """URL of a key."""
        return f"{self.root}/{key}" if key else self.root

    def write_atomic(self, key: str, pieces: Iterable[Buffer], *, scratch: str | None = None, expected_bytes: int = 0) -> int:
        """A dictionary's entry is whole or not there."""
        content = b"".join(memoryview(piece).cast("B") for piece in pieces)
        self._files[self.address(key)] = content
        return len(content)

    def read(self, key: str, most_bytes: int = MOST_DOCUMENT_BYTES) -> bytes | None:
        """All bytes of a key."""
        found = self._files.get(self.address(key))
        if found is not None and len(found) > most_bytes:
            raise StoreError(f"{self.address(key)} has {len(found):,} bytes, at most {most_bytes:,} are expected")
        return found

    def read_suffix(self, key: str, length: int) -> bytes:
        """The last bytes of a key."""
        return self._files[self.address(key)][-length:]

    def in_memory(self, key: str, start: int) -> bool:
        """True."""
        return True

    def read_into(self, key: str, start: int, buffers: Sequence[memoryview], behind: bytes | None = None) -> int:
        """Fill buffers from a byte on."""
        content = memoryview(self._files.get(self.address(key), b""))
        for buffer in buffers:
            part = content[start : start + len(buffer)]
            if len(part) < len(buffer):
                raise StoreError(f"{self.address(key)} ends before byte {start + len(buffer):,}")
            buffer[:] = part
            start += len(buffer)
        return 0 if behind is None else crc32c([behind, *buffers])

    def size(self, key: str) -> int | None:
        """Bytes of a key."""
        found = self._files.get(self.address(key))
        return None if found is None else len(found)

    def list_keys(self, prefix: str) -> Iterator[str]:
        """All keys below a folder."""
        below = f"{self.address(prefix)}/"
        yield from [name.removeprefix(f"{self.root}/") for name in self._files if name.startswith(below)]

    def list_entries(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Files alone: there are no folders."""
        yield from ((key, "file") for key in self.list_keys(prefix))

    def list_folders(self, prefix: str) -> list[str]:
        """First parts of the keys below a folder that have more."""
        rest = (key.removeprefix(f"{prefix}/" if prefix else "") for key in self.list_keys(prefix))
        return sorted({name.partition("/")[0] for name in rest if "/" in name})

    def delete(self, *keys: str) -> None:
        """Forget keys."""
        for key in keys:
            self._files.pop(self.address(key), None)

    def require_no_link(self, key: str) -> None:
        """There are none."""

    def delete_empty_folder(self, key: str) -> None:
        """There are none."""

    def free_bytes(self) -> int | None:
        """No limit to know."""
        return None

    def lock(self, key: str) -> MemoryLock:
        """Hold a key."""
        return MemoryLock(self.address(key))
