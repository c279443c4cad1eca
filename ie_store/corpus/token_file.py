"""``tokens:``: token ids made elsewhere, as .npy files of integers (row, position)."""

import io
import math
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ie_store.corpus.files import find_files, open_bytes
from ie_store.corpus.recipe_options import TokenOptions
from ie_store.corpus.rows import Listing
from ie_store.errors import InputError

PIECE_BYTES = 2**26
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def list_token_files(source: str, options: TokenOptions) -> Listing:
    """Rows of one or several .npy files, in their order.

    Raises:
        InputError: a file that is missing, is not .npy, holds no integers, has not two axes, or has another width.
    """
    paths = find_files(source)
    arrays = [_read_tokens(path) for path in paths]
    widths = {array.shape[1] for array in arrays}
    if len(widths) > 1:
        shapes = ", ".join(f"{path}: {array.shape[1]}" for path, array in zip(paths, arrays, strict=True))
        raise InputError(f"token files have rows of different length ({shapes}); give files of one length")
    tokens = np.concatenate(arrays)
    return Listing(tokens=tokens, source_row=np.arange(len(tokens)), complete=options.complete)


def _read_tokens(path: str) -> NDArray[np.integer]:
    try:
        with open_bytes(path) as file:
            return _load(file, path)
    except (ValueError, EOFError, OverflowError, SyntaxError, RecursionError) as error:
        raise InputError(f"token file {path} is not a .npy file of numbers ({error}); write it with numpy.save") from None


def _load(file: IO[bytes], path: str) -> NDArray[np.integer]:
    """The array in a file; what its header declares is compared with what is there before memory is spent on it."""
    start = file.read(npy.MAGIC_LEN)
    if start[:2] == b"PK":
        raise InputError(f"token file {path} holds several arrays (.npz); save the one of token ids with numpy.save")
    version = npy.read_magic(io.BytesIO(start))
    if version not in _HEADERS:
        raise ValueError(f"its format version {version} is not known")
    shape, is_fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    _require_tokens(path, shape, dtype)
    wanted = math.prod(shape) * dtype.itemsize
    content = _read_at_most(file, wanted)
    if len(content) < wanted:
        raise ValueError(f"its header declares {wanted:,} bytes of token ids and it holds {len(content):,}")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if is_fortran else "C")


def _require_tokens(path: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if len(shape) != 2:
        raise InputError(f"token file {path} has shape {shape}; token ids need two axes (row, position)")
    if min(shape) < 0:
        raise InputError(f"token file {path} has shape {shape}, which no array can have; write it again with numpy.save")
    if not np.issubdtype(dtype, np.integer):
        raise InputError(f"token file {path} holds {dtype}; token ids are whole numbers, save them as int32")
    if 0 in shape:
        raise InputError(f"token file {path} has shape {shape}: there is no token in it")


def _read_at_most(file: IO[bytes], wanted: int) -> bytearray:
    """The next ``wanted`` bytes, or all that there are; never asks for much more memory than the file fills."""
    content = bytearray()
    while len(content) < wanted and (piece := file.read(min(PIECE_BYTES, wanted - len(content)))):
        content += piece
    return content
