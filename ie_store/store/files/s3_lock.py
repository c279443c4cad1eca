"""Claims: objects that say which process holds a key.

Creating one (``If-None-Match: *``), refreshing and taking one over (``If-Match``) are conditional requests, so that of several
processes exactly one succeeds. The holder refreshes its claim every `HEARTBEAT_SECONDS`; one that was not refreshed for
`EXPIRE_SECONDS` by the server's own clock belongs to a dead process and may be taken over.
"""

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any

from ie_store.errors import BusyError, IeStoreError
from ie_store.store.files.s3_client import Absent, Bucket, Conflict

HEARTBEAT_SECONDS = 15.0
EXPIRE_SECONDS = 60.0
ATTEMPTS = 5
"""Rounds in which a claim may change under our hands before we call it busy."""


@dataclass(frozen=True)
class _Claim:
    """A claim as it lies in the bucket."""

    told: dict[str, Any]
    tag: str
    age: float
    """Seconds since it was last written."""

    def is_free(self) -> bool:
        return bool(self.told.get("released")) or self.age > EXPIRE_SECONDS


class ObjectLock:
    """A claim held by this process; a thread keeps it fresh."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket, self._key = bucket, key
        self._owner = {"pid": os.getpid(), "host": socket.gethostname(), "claim": uuid.uuid4().hex}
        self._guard, self._ended = threading.Lock(), threading.Event()
        self._lost = False
        self._tag = self._taken()
        threading.Thread(target=self._beat, name="claim", daemon=True).start()

    def _taken(self) -> str:
        for _ in range(ATTEMPTS):
            with suppress(Conflict):
                return self._put(IfNoneMatch="*")
            with suppress(Conflict, Absent):  # whoever changed it meanwhile: look again
                found = self._found()
                if self._is_ours(found):
                    return found.tag
                if not found.is_free():
                    self._raise_busy(found)
                return self._put(IfMatch=found.tag)
        raise BusyError(f"s3://{self._bucket.name}/{self._key} changes hands all the time; try again")

    def _raise_busy(self, found: _Claim) -> None:
        holder = json.dumps({name: found.told.get(name) for name in ("pid", "host")})
        raise BusyError(
            f"s3://{self._bucket.name}/{self._key} is held by a living process ({holder}, seen {found.age:.0f} s ago); wait for "
            f"it or end it: the claim of a process that was killed ends {EXPIRE_SECONDS:.0f} s after it was last seen"
        )

    def _put(self, released: bool = False, **condition: str) -> str:
        self._refreshed = time.time()  # before the server's clock says so: we must never think it fresher than others do
        told = {**self._owner, "time": self._refreshed, "released": released}
        return self._bucket.send("put_object", json.dumps(told).encode(), Key=self._key, **condition)

    def _found(self) -> _Claim:
        head = self._bucket.call("head_object", Key=self._key)
        now = parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"])
        try:
            told = json.loads(self._bucket.read(self._key))
        except ValueError:
            told = {}
        age = (now - head["LastModified"]).total_seconds()
        return _Claim(told if isinstance(told, dict) else {}, head["ETag"], age)

    def _is_ours(self, found: _Claim) -> bool:
        """True where a request of ours was carried out though its answer got lost: its repeat then meets a conflict."""
        return found.told.get("claim") == self._owner["claim"]

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            with suppress(IeStoreError):  # no connection: perhaps next time
                self._refresh()

    def _refresh(self) -> None:
        with self._guard:
            if self._ended.is_set():
                return
            try:
                self._tag = self._put(IfMatch=self._tag)
            except (Conflict, Absent):
                self._lost = not self._found_again()
                if self._lost:
                    self._ended.set()

    def _found_again(self) -> bool:
        with suppress(Absent):
            found = self._found()
            self._tag = found.tag
            return self._is_ours(found)
        return False

    def require_held(self) -> None:
        """Raise `BusyError` where another process has taken the claim over; before every write."""
        if not self._ended.is_set() and time.time() - self._refreshed > EXPIRE_SECONDS / 2:
            self._refresh()  # this process slept, or was cut off
        if self._lost:
            raise BusyError(
                f"s3://{self._bucket.name}/{self._key}: this process did not refresh its claim for {EXPIRE_SECONDS:.0f} s and "
                "another took it over; end one of the two, then run the same command again: it goes on where it stopped"
            )

    def abandon(self) -> None:
        """Forget the claim: its object is being removed."""
        with self._guard:
            self._ended.set()

    def release(self) -> None:
        """Let go. The object stays, as a local lock file does: it says that what lies beside it is ours."""
        with self._guard:
            if not self._ended.is_set():
                self._ended.set()
                with suppress(Conflict, Absent, IeStoreError):  # taken over, removed, or cut off: then it expires
                    self._put(released=True, IfMatch=self._tag)

    def remove(self) -> None:
        """Let go for good; the object goes too."""
        with self._guard:
            if not self._ended.is_set():
                self._ended.set()
                with suppress(Absent):
                    self._bucket.call("delete_object", Key=self._key)

    def __enter__(self) -> "ObjectLock":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
