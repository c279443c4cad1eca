"""CRC-32C of bytes that lie in several pieces."""

from collections.abc import Iterable
from typing import Any

from awscrt.checksums import crc32c as extend


def crc32c(pieces: Iterable[Any], value: int = 0) -> int:
    """CRC-32C of the concatenation of ``pieces``, behind bytes that come to ``value``."""
    for piece in pieces:
        value = extend(piece if isinstance(piece, bytes | memoryview) else memoryview(piece).cast("B"), value)
    return int(value)
