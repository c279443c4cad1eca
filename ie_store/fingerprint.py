"""The fingerprint of a corpus: equal for the rows as their recipe makes them and as a dataset keeps them.

Imports numpy alone.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Category:
    """A label of texts, as it is stored: each text once, and which of them stands at each sequence."""

    texts: tuple[str, ...]
    """Distinct, sorted."""
    codes: NDArray[np.int32]
    """(sequence,) index into ``texts``."""


Label = NDArray[Any] | Category
"""One value for each sequence: numbers or texts (sequence,), or texts already made a category."""


def categorised(values: NDArray[Any]) -> Category:
    """Texts (sequence,) of any width as a category."""
    texts, codes = np.unique(values.astype(str), return_inverse=True)
    return Category(texts=tuple(texts.tolist()), codes=codes.astype(np.int32))


def fingerprint(tokens: NDArray[np.int32], source_row: NDArray[np.int64], labels: Mapping[str, Label]) -> str:
    """SHA-256 (64 hex digits) over sorted tokens (sequence, position), source rows and labels, byte order fixed."""
    sha = hashlib.sha256()

    def add(name: str, kind: str, array: NDArray[Any]) -> None:
        sha.update(f"{name}\0{kind}\0{array.shape}\0".encode())
        sha.update(np.ascontiguousarray(array).data)

    add("tokens", "i4", tokens.astype("<i4", copy=False))
    add("source_row", "i8", source_row.astype("<i8", copy=False))
    for name, label in sorted(labels.items()):
        if isinstance(label, np.ndarray) and label.dtype.kind in "iufb":
            add(name, label.dtype.name, label.astype(label.dtype.newbyteorder("<"), copy=False))
        else:
            category = label if isinstance(label, Category) else categorised(label)
            add(name, "texts" + json.dumps(category.texts), category.codes.astype("<i4", copy=False))
    return sha.hexdigest()
