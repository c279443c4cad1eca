"""What a dataset looks like on disk: its arrays, their metadata documents and their keys. Pure values, no input or output.

::

    MODEL/CORPUS/
      zarr.json                    written last at creation: the dataset's birth certificate
      macro/c/0/0/<shard>/0        (layer, position, sequence, hidden), one file per shard
      micro/c/0/<shard>/0          (layer, token, hidden)
      token_id layer position sequence token source_row <labels>
      ledger/                      crc32c of every inner chunk; see `ledger`
      estimates/                   written by stage two

bfloat16 has no dtype in most readers: its arrays are ``macro_bfloat16_bits`` and ``micro_bfloat16_bits``, uint16.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import InputError
from ie_store.fingerprint import fingerprint
from ie_store.specs import Level, StoredDtype, StoreLayout
from ie_store.store.format.codec import codec_document
from ie_store.texts import CorpusTexts, Texts, texts_digest

BFLOAT16_NAN_BITS = 32704
NOT_STORED = 2**64 - 1
ROWS_PER_CHUNK = 2**20
"""Rows per chunk of the arrays that are not states: all of them, in nearly every corpus."""
LOCK_FOLDER = "token_id"
"""Array folder that keeps the dataset's lock and scratch files: unexpected files in a group's folder make Zarr readers warn."""
MOST_LABEL_BYTES = 2**23
"""Of a label's texts as JSON: a document of 16 MiB is read, and says the rest of the array too."""
MAX_CATEGORIES = 2**16
CODES_SUFFIX = ", as an index into categories"
"""Ends the long name of a label whose texts are kept as codes."""
LONG_NAMES = {
    "token_id": "token id of each sequence at each position",
    "layer": "0 enters block 0; l is the output of block l-1",
    "position": "index of a token in its sequence",
    "sequence": "row of the corpus, in lexicographic order of tokens",
    "token": "distinct token ids of the corpus, sorted",
    "source_row": "row of the corpus's source",
}
"""What the small arrays that every dataset has are."""
_STATES_OF: dict[Level, str] = {"macro": "the prefix that ends at position", "micro": "a token fed to the model alone"}
TEXT_OF = {"token_text": ("token", "the text of each token"), "source_text": ("sequence", "the text that each row was cut from")}
"""Dimension that texts are over, by name, and what they are."""
BYTES_SUFFIX, SPAN_SUFFIX = "_bytes", "_span"
"""End the names of the two arrays that keep texts."""
_TEXT_NAMES = {name + suffix for name in TEXT_OF for suffix in (BYTES_SUFFIX, SPAN_SUFFIX)}
_STATE_NAMES = {"macro", "micro", "macro_bfloat16_bits", "micro_bfloat16_bits", "micro_state", "ledger", "estimates"}
RESERVED = _STATE_NAMES | _TEXT_NAMES | LONG_NAMES.keys() | {"hidden", "block", "all_token_id", "all_position"}
FLOAT16_NOTE = (
    "float16: convert to float32 before sums, means and squares, which overflow at 65504; "
    "xarray.open_dataset(path, engine='ie_store') does"
)
BYTES_CODEC = {"name": "bytes", "configuration": {"endian": "little"}}
CHECKSUM_CODEC = {"name": "crc32c"}
_PART = re.compile(r"(?!__|zarr\.json$)[A-Za-z0-9_][A-Za-z0-9._-]*")
"""Names that begin with a dot or ``__``, and zarr.json itself, are Zarr's own."""


@dataclass(frozen=True, kw_only=True)
class ArrayTemplate:
    """One Zarr v3 array, before any data: ``document`` is its ``zarr.json``."""

    name: str
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    """Of one file."""
    data_type: str
    fill_value: Any
    dimensions: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    inner_shape: tuple[int, ...] | None = None
    """Inner chunks of a sharded array; None where a file is one plain chunk."""

    def document(self) -> dict[str, Any]:
        """The array's ``zarr.json``."""
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.shape),
            "data_type": self.data_type,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.chunk_shape)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": self.fill_value,
            "codecs": [BYTES_CODEC, CHECKSUM_CODEC] if self.inner_shape is None else [self._sharding()],
            "attributes": self.attributes,
            "dimension_names": list(self.dimensions),
            "storage_transformers": [],
        }

    def _sharding(self) -> dict[str, Any]:
        configuration = {
            "chunk_shape": list(self.inner_shape or ()),
            "codecs": codec_document(np.dtype(self.data_type).itemsize),
            "index_codecs": [BYTES_CODEC, CHECKSUM_CODEC],
            "index_location": "end",
        }
        return {"name": "sharding_indexed", "configuration": configuration}


def is_name_part(text: str) -> bool:
    """True where ``text`` can be the MODEL or the CORPUS of a dataset's name."""
    return _PART.fullmatch(text) is not None


def dataset_name(name: str) -> str:
    """``name`` itself, where it is MODEL/CORPUS.

    Raises:
        InputError: anything else.
    """
    parts = name.split("/")
    if len(parts) != 2 or not all(map(is_name_part, parts)):
        raise InputError(
            f"dataset name {name!r} is not MODEL/CORPUS: two parts of letters, digits, '.', '_' and '-', neither "
            "'zarr.json' nor beginning with '.' or '__', for example SmolLM2/country; 'ie-store ls STORE' lists what is there"
        )
    return name


def numpy_dtype(stored_dtype: StoredDtype) -> np.dtype[Any]:
    """Dtype of the stored numbers; bfloat16 is kept as its bits."""
    return np.dtype("<u2" if stored_dtype == "bfloat16" else np.dtype(stored_dtype).newbyteorder("<"))


def fill_number(stored_dtype: StoredDtype) -> Any:
    """NaN, in the stored dtype: what readers see where nothing is stored."""
    return BFLOAT16_NAN_BITS if stored_dtype == "bfloat16" else np.nan


def state_template(layout: StoreLayout, level: Level) -> ArrayTemplate:
    """The array of macro (layer, position, sequence, hidden) or micro (layer, token, hidden) states."""
    states = layout.level(level)
    attributes: dict[str, Any] = {"long_name": f"hidden state of {_STATES_OF[level]}", "units": "1"}
    if layout.stored_dtype == "bfloat16":
        attributes["encoding"] = (
            "bfloat16 bits in uint16: value = float32 whose upper 16 bits these are; "
            "xarray.open_dataset(path, engine='ie_store') decodes them; 32704 is NaN (not stored)"
        )
    if layout.stored_dtype == "float16":
        attributes["note"] = FLOAT16_NOTE
    return ArrayTemplate(
        name=states.array,
        shape=(*states.grid, states.num_rows, layout.hidden_size),
        chunk_shape=(*states.grid, states.rows_per_shard, layout.hidden_size),
        inner_shape=(*(1 for _ in states.grid), states.rows_per_shard, layout.hidden_size),
        data_type=numpy_dtype(layout.stored_dtype).name,
        fill_value=BFLOAT16_NAN_BITS if layout.stored_dtype == "bfloat16" else "NaN",
        dimensions=states.dimensions,
        attributes=attributes,
    )


def coordinate_values(
    layout: StoreLayout,
    tokens: NDArray[np.int32],
    source_row: NDArray[np.int64],
    labels: dict[str, NDArray[Any]],
    texts: CorpusTexts | None = None,
) -> dict[str, tuple[ArrayTemplate, NDArray[Any]]]:
    """Every small array of a dataset, by name: its template and its values."""
    common = {
        "token_id": (tokens.astype("<i4"), ("sequence", "position")),
        "layer": (np.arange(layout.num_layers), ("layer",)),
        "position": (np.arange(layout.num_positions), ("position",)),
        "sequence": (np.arange(layout.num_sequences), ("sequence",)),
        "token": (np.unique(tokens).astype("<i4"), ("token",)),
        "source_row": (source_row.astype("<i8"), ("sequence",)),
    }
    arrays = [_plain(name, values, dimensions, LONG_NAMES[name]) for name, (values, dimensions) in common.items()]
    arrays += [_label(name, values) for name, values in sorted(labels.items())]
    if texts is not None:
        found = fingerprint(tokens, source_row, labels)
        arrays += [array for name, one in texts.named.items() if len(one.data) for array in _texts(name, one, found)]
    return {template.name: (template, values) for template, values in arrays}


def _plain(
    name: str, values: NDArray[Any], dimensions: tuple[str, ...], long_name: str, **attributes: Any
) -> tuple[ArrayTemplate, NDArray[Any]]:
    floating = values.dtype.kind == "f"
    template = ArrayTemplate(
        name=name,
        shape=values.shape,
        chunk_shape=(min(len(values), ROWS_PER_CHUNK), *values.shape[1:]),
        data_type=values.dtype.name,
        fill_value="NaN" if floating else False if values.dtype.kind == "b" else 0,
        dimensions=dimensions,
        attributes={"long_name": long_name, **attributes},
    )
    return template, values


def _texts(name: str, texts: Texts, corpus_fingerprint: str) -> list[tuple[ArrayTemplate, NDArray[Any]]]:
    """Texts as their bytes and where each lies in them, with a digest that ties them to the corpus."""
    dimension, what = TEXT_OF[name]
    data, span = name + BYTES_SUFFIX, name + SPAN_SUFFIX
    return [
        _plain(data, texts.data, (f"{name}_byte",), f"text in UTF-8, cut by {span}"),
        _plain(
            span,
            texts.span,
            (dimension, "edge"),
            f"start and stop in {data} of {what}",
            digest=texts_digest(corpus_fingerprint, name, texts),
        ),
    ]


def _label(name: str, values: NDArray[Any]) -> tuple[ArrayTemplate, NDArray[Any]]:
    """A label of each sequence; texts become codes with CF flag attributes, which every reader understands."""
    if not is_label_name(name):
        raise InputError(
            f"label {name!r} cannot name an array: use letters, digits, '.', '_' and '-', and no name of the store's own"
        )
    if values.dtype.kind in "iufb":
        return _plain(name, values, ("sequence",), label_long_name(name))
    texts, codes = np.unique(values.astype(str), return_inverse=True)
    if len(texts) > MAX_CATEGORIES:
        raise InputError(f"label {name!r} has {len(texts):,} distinct texts; at most {MAX_CATEGORIES:,} make a category: drop it")
    meanings = " ".join(re.sub(r"\s", "_", text) or "_" for text in texts.tolist())
    flags = {"flag_values": list(range(len(texts))), "flag_meanings": meanings, "categories": texts.tolist()}
    if (num_bytes := len(json.dumps(flags))) > MOST_LABEL_BYTES:
        raise InputError(
            f"label {name!r} has {len(texts):,} distinct texts of {num_bytes:,} bytes as JSON; at most {MOST_LABEL_BYTES:,} can "
            "be stored: shorten them, or drop the label"
        )
    long_name = label_long_name(name) + CODES_SUFFIX
    return _plain(name, codes.astype("<i4"), ("sequence",), long_name, **flags)


def is_label_name(name: str) -> bool:
    """True where ``name`` can be that of a label of the source."""
    return is_name_part(name) and name not in RESERVED


def label_long_name(name: str) -> str:
    """What a label is, for people."""
    return f"label {name} of the source"
