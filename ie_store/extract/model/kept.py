"""What was made of a model file, kept for later runs: below ``IE_STORE_CACHE``, by default ``~/.cache/ie-store``.

Where the variable is empty nothing is kept. An entry is one file, ``KEY-DIGEST.KIND``: KEY says what it was made from, DIGEST is
the SHA-256 of its bytes. It is written under a temporary name and renamed, so that any number of processes may share a folder,
and compared with its digest before it is used. Entries may be deleted at any time.
"""

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

VARIABLE = "IE_STORE_CACHE"
_LOG = logging.getLogger("ie_store")
MOST_OF_THE_DISK = 0.1
"""Part of the free room that one entry may take."""


def kept_folder() -> Path | None:
    """Where entries are kept; None where nothing is to be."""
    told = os.environ.get(VARIABLE, "~/.cache/ie-store")
    try:
        return Path(told).expanduser() if told else None
    except RuntimeError:  # nobody's home
        return None


def key_of(*parts: str) -> str:
    """Key of what is made from ``parts``: digests, versions, names."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_kept(key: str, kind: str) -> Path | None:
    """The entry of ``key``, where there is a sound one; a damaged one is removed, and said."""
    folder = kept_folder()
    for path in sorted(folder.glob(f"{key}-*.{kind}")) if folder else ():
        with suppress(OSError):
            if file_digest(path) == path.stem.rpartition("-")[2]:
                return path
        _LOG.warning("%s is damaged; it is removed, and made again from the model's own file", path)
        with suppress(OSError):
            path.unlink()
    return None


def keep(key: str, kind: str, num_bytes: int, write: Callable[[Path], Any]) -> None:
    """Keep what ``write`` writes to the path it is given; without room, or where the folder cannot be written, nothing is kept.

    Args:
        key: what it is made from.
        kind: of file; its ending.
        num_bytes: about how large it is.
        write: called with a path.
    """
    folder = kept_folder()
    if folder is None:
        return
    temporary = folder / f"{key}-{uuid.uuid4().hex[:8]}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if num_bytes > MOST_OF_THE_DISK * shutil.disk_usage(folder).free:
            return
        write(temporary)
        temporary.rename(folder / f"{key}-{file_digest(temporary)}.{kind}")
    except Exception as error:  # whatever a full or foreign disk makes safetensors raise: the run needs no entry
        _LOG.warning("%s: nothing is kept for later runs (%s)", folder, error)
    finally:
        with suppress(OSError):
            temporary.unlink()
