"""Rows of a dataset as people read them, with the coordinates of the rows."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ie_store.errors import InputError
from ie_store.store.dataset.texts import row_texts
from ie_store.store.open import DatasetReader


def read_text(reader: DatasetReader, sequences: NDArray[np.int64], dataset: xr.Dataset) -> xr.Dataset:
    """``token_text``, ``text`` and ``source_text`` of ``sequences`` (sequence,), as `ds.ie.text` gives them.

    Raises:
        InputError: no texts are stored.
    """
    texts = reader.texts
    if texts is None:
        raise InputError(
            f"{reader.address} was stored without texts: its token ids met no tokenizer, or it is older than they are; "
            "'ie-store extract' of the same model and corpus with --repair adds them"
        )
    tokens = row_texts(texts, reader.tokens[sequences], reader.token_values)
    joined = np.empty(len(tokens), dtype=object)
    joined[:] = ["".join(row) for row in tokens]
    variables = {
        "text": xr.Variable(("sequence",), joined, {"long_name": "tokens of the row as one text"}),
        "token_text": xr.Variable(("sequence", "position"), tokens, {"long_name": "text of each token"}),
    }
    if texts.source is not None:
        described = {"long_name": "text that the row was cut from"}
        variables["source_text"] = xr.Variable(("sequence",), texts.source.at(sequences), described)
    kept = {name: found for name, found in dataset.coords.items() if found.dims == ("sequence",)}
    positions = {"position": np.arange(tokens.shape[1])}
    return xr.Dataset(variables, {**kept, **positions})
