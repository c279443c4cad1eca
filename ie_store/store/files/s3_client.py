"""Requests to one S3 bucket, with errors that a user can fix.

Address and credentials come from the usual environment: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_PROFILE, AWS_DEFAULT_REGION, or what the machine provides.
"""

import io
from collections.abc import Iterator
from typing import Any, NoReturn

import s3fs

from ie_store.errors import InputError, StoreError

STORAGE_OPTIONS: dict[str, Any] = {
    "use_listings_cache": False,  # others write while we read
    "config_kwargs": {"read_timeout": 60, "retries": {"mode": "standard", "max_attempts": 6}},
}
PAST_THE_END = 416
_UNUSABLE = ("NoSuchBucket", "NoCredentialsError", "PartialCredentialsError", "EndpointConnectionError", "ParamValidationError")


class Absent(Exception):
    """There is no such object or upload."""


class Conflict(Exception):
    """The object is not, or not any more, as the request's condition asks."""


class _Requests(s3fs.S3FileSystem):  # type: ignore[misc]
    """Requests whose repeats are left to botocore: s3fs would send the rest of a body that was half read, not all of it."""

    retries = 1


class Bucket:
    """One bucket; its methods may be called from any thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        # Reads are repeated by s3fs, which also repeats those whose body breaks off.
        self._reads, self._requests = s3fs.S3FileSystem(**STORAGE_OPTIONS), _Requests(**STORAGE_OPTIONS)

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            Absent, Conflict: see there.
            InputError: bucket, endpoint or credentials are not usable.
            StoreError: it failed otherwise.
        """
        try:
            answer: dict[str, Any] = self._requests.call_s3(method, Bucket=self.name, **arguments)
        except Exception as error:  # those of botocore, aiohttp and fsspec have no common base
            self._raise_explained(error, arguments.get("Key", arguments.get("Prefix", "")))
        return answer

    def send(self, method: str, body: bytes | bytearray, **arguments: Any) -> str:
        """Send bytes; the tag (ETag) of what is stored now."""
        tag: str = self.call(method, Body=io.BytesIO(body), **arguments)["ETag"]
        return tag

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> bytes:
        """Bytes of an object: all; start..stop-1, fewer where it ends before; or, where ``start`` is negative, the last ones.

        Raises:
            Absent, InputError, StoreError: as `call`.
        """
        try:
            found: bytes = self._reads.cat_file(f"{self.name}/{key}", start=start, end=stop, max_concurrency=1)
        except Exception as error:
            if _answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode") == PAST_THE_END:
                return b""
            self._raise_explained(error, key)
        return found

    def objects(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Pages of a listing of objects."""
        return self._pages("list_objects_v2", {"ContinuationToken": "NextContinuationToken"}, **arguments)

    def uploads(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Pages of a listing of unfinished uploads."""
        markers = {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"}
        return self._pages("list_multipart_uploads", markers, **arguments)

    def _pages(self, method: str, markers: dict[str, str], **arguments: Any) -> Iterator[dict[str, Any]]:
        place: dict[str, Any] = {}
        while True:
            page = self.call(method, **arguments, **place)
            yield page
            if not page.get("IsTruncated"):
                return
            place = {asked: page[told] for asked, told in markers.items()}

    def _raise_explained(self, error: Exception, key: str) -> NoReturn:
        response = _answer(error)
        code = response.get("Error", {}).get("Code", type(error).__name__)
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        where = f"s3://{self.name}/{key}"
        if code in _UNUSABLE or status == 403:
            raise InputError(
                f"{where} cannot be used: {error}; check that the bucket exists, the endpoint (AWS_ENDPOINT_URL) and the "
                "credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE) and what they permit"
            ) from error
        if status in (409, 412):
            raise Conflict(where) from error
        if isinstance(error, FileNotFoundError):
            raise Absent(where) from error
        raise StoreError(f"{where}: the request failed: {error}; try again") from error


def _answer(error: Exception) -> dict[str, Any]:
    """What the server said; empty where it said nothing."""
    answer: dict[str, Any] = getattr(error.__cause__, "response", {})
    return answer
