"""The first entries of a GGUF file, read without its tokens and tensors: enough to know how large the model is."""

import struct
from typing import IO

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""GGUF's types of fixed size, as `struct` calls them."""
_STRING, _ARRAY = 8, 9
_VERSIONS = (2, 3)
_MOST_KEY_BYTES = 2**16
_MOST_STRINGS = 1000
"""An array of more is a vocabulary: what we look for stands before it."""
Entry = int | float | bool | str


class _Enough(Exception):
    """What follows is of no use here, or not understood."""


def read_entries(path: str) -> dict[str, Entry]:
    """Numbers and texts at the head of a GGUF file, up to its vocabulary; empty where it is no such file.

    Arrays are left out. A damaged head ends what is read: whoever loads the whole file says what is wrong with it.
    """
    found: dict[str, Entry] = {}
    try:
        with open(path, "rb") as file:
            if file.read(4) != b"GGUF" or _number(file, "I") not in _VERSIONS:
                return found
            _number(file, "Q")
            for _ in range(int(_number(file, "Q"))):
                key, kind = _text(file), int(_number(file, "I"))
                if kind == _ARRAY:
                    _skip_array(file)
                else:
                    found[key] = _text(file) if kind == _STRING else _number(file, _scalar(kind))
    except (OSError, UnicodeDecodeError, _Enough):
        pass
    return found


def _scalar(kind: int) -> str:
    if kind not in _SCALARS:
        raise _Enough
    return _SCALARS[kind]


def _number(file: IO[bytes], kind: str) -> Entry:
    size = struct.calcsize(f"<{kind}")
    data = file.read(size)
    if len(data) < size:
        raise _Enough
    value: Entry = struct.unpack(f"<{kind}", data)[0]
    return value


def _text(file: IO[bytes]) -> str:
    length = int(_number(file, "Q"))
    if length > _MOST_KEY_BYTES:
        raise _Enough
    data = file.read(length)
    if len(data) < length:
        raise _Enough
    return data.decode()


def _skip_array(file: IO[bytes]) -> None:
    kind, count = int(_number(file, "I")), int(_number(file, "Q"))
    if kind != _STRING:
        size = count * struct.calcsize(f"<{_scalar(kind)}")
        if size > 2**32:
            raise _Enough
        file.seek(size, 1)
    elif count > _MOST_STRINGS:
        raise _Enough
    else:
        for _ in range(count):
            _text(file)
