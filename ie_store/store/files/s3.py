"""Files as objects in an S3 bucket: an object appears whole or not at all, and locks are claims.

Unfinished uploads of killed processes, which nobody can read but somebody pays for, are listed as temporary keys
``<key>?uploadId=<id>.tmp``; deleting such a key ends the upload.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, islice
from typing import Any

from ie_store.errors import REPAIR, IeStoreError, InputError, StoreError
from ie_store.store.files.checksum import crc32c
from ie_store.store.files.protocol import MOST_DOCUMENT_BYTES, TEMPORARY, Buffer
from ie_store.store.files.s3_client import STORAGE_OPTIONS, Absent, Bucket
from ie_store.store.files.s3_lock import ObjectLock

SCHEME = "s3://"
PART_BYTES = 16 * 2**20
"""What is sent with one request; a file may have 10,000 of them."""
PARTS_IN_FLIGHT = 4
KEYS_PER_REQUEST = 1000
UPLOAD = "?uploadId="


class S3Storage:
    """A prefix of an S3 bucket, or the whole bucket."""

    storage_options: dict[str, Any] | None = STORAGE_OPTIONS

    def __init__(self, root: str) -> None:
        bucket, _, prefix = root.removeprefix(SCHEME).strip("/").partition("/")
        if not root.startswith(SCHEME) or not bucket or "" in (prefix or "-").split("/"):
            raise InputError(f"store {root!r} is not an address; give s3://BUCKET or s3://BUCKET/PREFIX")
        self.root = f"{SCHEME}{bucket}/{prefix}".rstrip("/")
        self._bucket, self._prefix = Bucket(bucket), f"{prefix}/" if prefix else ""
        self._locks: dict[str, ObjectLock] = {}

    def address(self, key: str = "") -> str:
        """URL of a key."""
        return f"{self.root}/{key}" if key else self.root

    def write_atomic(self, key: str, pieces: Iterable[Buffer], *, scratch: str | None = None, expected_bytes: int = 0) -> int:
        """Write an object whole or not at all; see `Storage`. A few parts at a time are in memory."""
        self._require_claims()
        parts = _parts(pieces)
        first = next(parts)
        second = next(parts, None)
        try:
            if second is not None:
                return self._upload(self._prefix + key, chain([first, second], parts))
            self._bucket.send("put_object", first, Key=self._prefix + key)
        except Absent as error:
            raise StoreError(
                f"{self.address(key)}: its upload was ended by another process; run the same command again"
            ) from error
        return len(first)

    def _upload(self, name: str, parts: Iterable[bytearray]) -> int:
        upload = {"Key": name, "UploadId": self._bucket.call("create_multipart_upload", Key=name)["UploadId"]}
        waiting: deque[Future[str]] = deque()
        tags: list[str] = []
        written = 0
        try:
            with ThreadPoolExecutor(PARTS_IN_FLIGHT, thread_name_prefix="upload") as pool:
                for number, part in enumerate(parts, start=1):
                    waiting.append(pool.submit(self._bucket.send, "upload_part", part, PartNumber=number, **upload))
                    written += len(part)
                    if len(waiting) == PARTS_IN_FLIGHT:
                        tags.append(waiting.popleft().result())
                tags += [future.result() for future in waiting]
            self._require_claims()
            listed = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, start=1)]
            self._bucket.call("complete_multipart_upload", MultipartUpload={"Parts": listed}, **upload)
        except BaseException:
            with suppress(Absent, IeStoreError):  # where this fails too, the next writer's sweep ends it
                self._bucket.call("abort_multipart_upload", **upload)
            raise
        return written

    def read(self, key: str, most_bytes: int = MOST_DOCUMENT_BYTES) -> bytes | None:
        """All bytes, or None where there is no such object."""
        try:
            found = self._bucket.read(self._prefix + key, 0, most_bytes + 1)
        except Absent:
            return None
        if len(found) > most_bytes:
            raise StoreError(f"{self.address(key)} has more than {most_bytes:,} bytes, the most it can hold: it is not ours")
        return found

    def read_suffix(self, key: str, length: int) -> bytes:
        """The last bytes of an object."""
        return self._read_range(key, -length, None)

    def read_into(self, key: str, start: int, buffers: Sequence[memoryview], behind: bytes | None = None) -> int:
        """Fill buffers from one stretch of an object, with one request; see `Storage`."""
        total = sum(map(len, buffers))
        found = memoryview(self._read_range(key, start, start + total) if total else b"")
        if len(found) < total:
            raise StoreError(
                f"{self.address(key)} is truncated: bytes {start:,} to {start + total:,} are wanted, "
                f"it ends at {start + len(found):,}; {REPAIR}"
            )
        for buffer in buffers:
            buffer[:] = found[: len(buffer)]
            found = found[len(buffer) :]
        return 0 if behind is None else crc32c([behind, *buffers])

    def in_memory(self, key: str, start: int) -> bool:
        """False: every read is a request."""
        return False

    def _read_range(self, key: str, start: int, stop: int | None) -> bytes:
        try:
            return self._bucket.read(self._prefix + key, start, stop)
        except Absent:
            where = self.address(key)
            raise StoreError(f"{where} is missing; run the same extract command again: it writes what is missing") from None

    def size(self, key: str) -> int | None:
        """Bytes of an object, or None."""
        try:
            size: int = self._bucket.call("head_object", Key=self._prefix + key)["ContentLength"]
        except Absent:
            return None
        return size

    def list_keys(self, prefix: str) -> Iterator[str]:
        """All objects below a prefix, then the uploads below it that are not finished."""
        below = self._below(prefix)
        for page in self._bucket.objects(Prefix=below):
            names = (found["Key"] for found in page.get("Contents", []))
            # Some tools mark folders with empty objects.
            yield from (name.removeprefix(self._prefix) for name in names if not name.endswith("/"))
        with suppress(IeStoreError):  # who may not list uploads (a reader) has none to sweep either
            for page in self._bucket.uploads(Prefix=below):
                for found in page.get("Uploads", []):
                    yield f"{found['Key'].removeprefix(self._prefix)}{UPLOAD}{found['UploadId']}{TEMPORARY}"

    def list_entries(self, prefix: str) -> Iterator[tuple[str, str]]:
        """All objects below a prefix; there are no folders and no links."""
        yield from ((key, "file") for key in self.list_keys(prefix))

    def list_folders(self, prefix: str) -> list[str]:
        """Names of the prefixes directly below a prefix."""
        below = self._below(prefix)
        pages = self._bucket.objects(Prefix=below, Delimiter="/")
        return sorted(found["Prefix"][len(below) : -1] for page in pages for found in page.get("CommonPrefixes", []))

    def _below(self, prefix: str) -> str:
        return f"{self._prefix}{prefix}/" if prefix else self._prefix

    def require_no_link(self, key: str) -> None:
        """Nothing to do: a bucket has no links."""

    def delete(self, *keys: str) -> None:
        """Remove objects, or end unfinished uploads."""
        left = iter(keys)
        while batch := list(islice(left, KEYS_PER_REQUEST)):
            self._delete_all(batch)

    def _delete_all(self, keys: list[str]) -> None:
        self._require_claims()
        for key in keys:
            if key in self._locks:
                self._locks.pop(key).abandon()
            name, _, upload = (self._prefix + key).removesuffix(TEMPORARY).partition(UPLOAD)
            if upload:
                with suppress(Absent):
                    self._bucket.call("abort_multipart_upload", Key=name, UploadId=upload)
        names = [{"Key": self._prefix + key} for key in keys if UPLOAD not in key]
        answer = self._bucket.call("delete_objects", Delete={"Objects": names, "Quiet": True}) if names else {}
        for failed in answer.get("Errors", []):
            raise StoreError(f"cannot remove {SCHEME}{self._bucket.name}/{failed['Key']}: {failed.get('Message')}")

    def delete_empty_folder(self, key: str) -> None:
        """Nothing to do: a bucket has no folders."""

    def free_bytes(self) -> int | None:
        """None: a bucket has no limit to know."""
        return None

    def lock(self, key: str) -> ObjectLock:
        """Hold a claim; see `ObjectLock`."""
        lock = self._locks[key] = ObjectLock(self._bucket, self._prefix + key)
        return lock

    def _require_claims(self) -> None:
        """Raise `BusyError` where a claim of ours went to another process: what it covers is not ours to write."""
        for lock in list(self._locks.values()):
            lock.require_held()


def _parts(pieces: Iterable[Buffer]) -> Iterator[bytearray]:
    """The pieces as parts of `PART_BYTES`, the last one shorter (empty where nothing came)."""
    part = bytearray()
    for piece in pieces:
        view = memoryview(piece).cast("B")
        while len(part) + len(view) > PART_BYTES:
            room = PART_BYTES - len(part)
            part += view[:room]
            view = view[room:]
            yield part
            part = bytearray()
        part += view
    yield part
