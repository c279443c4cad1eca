"""Files that a recipe names: found by name, list or pattern, opened as bytes, unpacked where they are gzip."""

import glob
import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote

from ie_store.errors import InputError

STDIN = "-"
GZIP_MAGIC = b"\x1f\x8b"


def find_files(source: str) -> list[str]:
    """Storage named by ``source``: comma-separated, in this order; each a file, ``-`` or a pattern like ``parts/*.gz`` (sorted).

    Raises:
        InputError: a name that is no file, or a pattern without a match.
    """
    found: list[str] = []
    for part in source.split(","):
        name = os.path.expanduser(unquote(part))
        if os.path.isdir(name):
            raise InputError(f"corpus file {name} is a folder; name the files in it, for example '{name.rstrip('/')}/*'")
        if name == STDIN or os.path.exists(name):
            found.append(name)
            continue
        matches = sorted(match for match in glob.glob(name, recursive=True) if os.path.isfile(match))
        if not matches:
            what = "matches no file" if glob.has_magic(name) else "does not exist"
            raise InputError(f"corpus file {name!r} {what} (looked in {Path.cwd()}); check the name")
        found.extend(matches)
    return found


def base_names(source: str) -> str:
    """``source`` without folders, percent-encoded: what a recipe is remembered by on any machine."""
    return ",".join(quote(Path(unquote(part)).name, safe=" *[]") for part in source.split(","))


@contextmanager
def open_bytes(path: str) -> Iterator[IO[bytes]]:
    """Open a file (``-``: standard input) for reading, through gzip where its first bytes say so.

    Raises:
        InputError: the file cannot be read or is not whole.
    """
    try:
        with _open_packed(path) as file:
            if file.peek(2)[:2] == GZIP_MAGIC:
                with io.BufferedReader(gzip.open(file)) as unpacked:
                    yield unpacked
            else:
                yield file
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"corpus file {path} cannot be read: {error}") from None


@contextmanager
def open_text(path: str) -> Iterator[IO[str]]:
    """Open a file as `open_bytes` does, for reading as UTF-8 text.

    Raises:
        InputError: the file cannot be read, is not whole or not UTF-8.
    """
    try:
        with open_bytes(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig") as text:
            yield text
    except UnicodeDecodeError as error:
        raise InputError(f"corpus file {path} is not UTF-8 text ({error}); convert it, for example with iconv") from None


def _open_packed(path: str) -> io.BufferedReader:
    if path == STDIN:  # read whole: Parquet and .npy have to seek
        return io.BufferedReader(io.BytesIO(sys.stdin.buffer.read()))
    return io.BufferedReader(io.FileIO(path))
