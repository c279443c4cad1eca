"""``tokens:``: token ids made elsewhere, as .npy files of integers (row, position)."""

import io

import numpy as np
from numpy.typing import NDArray

from ie_store.corpus.files import find_files, open_bytes
from ie_store.corpus.recipe_options import TokenOptions
from ie_store.corpus.rows import Listing
from ie_store.errors import InputError


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
    with open_bytes(path) as file:
        content = file.read()
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"token file {path} is not a .npy file of numbers ({error}); write it with numpy.save") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"token file {path} holds several arrays (.npz); save the one of token ids with numpy.save")
    if array.ndim != 2:
        raise InputError(f"token file {path} has shape {array.shape}; token ids need two axes (row, position)")
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"token file {path} holds {array.dtype}; token ids are whole numbers, save them as int32")
    if array.size == 0:
        raise InputError(f"token file {path} has shape {array.shape}: there is no token in it")
    return array
