"""Reading slabs: one byte range per shard, decoded in threads straight into the caller's buffer.

What is read is compared with the ledger, and the corpus with its fingerprint, unless the reader is opened with ``verify=False``.
A `DatasetReader` keeps no open files and travels between processes as (store, name, verify).
"""

import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import InputError, StoreError
from ie_store.grid import ceil_div
from ie_store.specs import CorpusSpec, DatasetIdentity, Level, Slab, StoreLayout
from ie_store.store.dataset import ledger
from ie_store.store.dataset.buffers import acquire
from ie_store.store.dataset.corpus_rows import CorpusArrays, read_corpus, texts_of
from ie_store.store.dataset.handle import Dataset, open_dataset
from ie_store.store.dataset.shard_table import ABSENT, ShardTable
from ie_store.store.dataset.slab_read import Chunk, SlabRead, decoded, decoded_dtype
from ie_store.store.dataset.texts import read_texts
from ie_store.store.dataset.threads import in_threads
from ie_store.store.format.arrays import numpy_dtype
from ie_store.store.format.attributes import DatasetAttributes
from ie_store.store.format.codec import require_readable
from ie_store.store.format.metadata import require_array
from ie_store.texts import CorpusTexts

if TYPE_CHECKING:
    import dask.array

READERS = 8
"""Threads that read a slab from a disk or a network, however few the cores: while one sums what it has read, others wait
(`verified.py`). What lies in memory is read by as many threads as there are cores: more only wait for Python's lock
(`slab_read.py`: two cores read 5.7 GB/s in two threads, 4.0 in eight)."""


def open_reader(store: str, name: str, verify: bool = True) -> "DatasetReader":
    """Open dataset ``name`` (MODEL/CORPUS) of ``store`` for reading slabs.

    Args:
        store: local folder, or s3://BUCKET/PREFIX.
        name: MODEL/CORPUS.
        verify: compare every chunk that is read with its checksum in the ledger, and the corpus with its fingerprint.

    Raises:
        InputError: the name is malformed.
        StoreError: no such store or dataset.
    """
    return DatasetReader(open_dataset(store, name), verify)


class DatasetReader:
    """One dataset, read slab by slab. `open_reader` makes it."""

    def __init__(self, dataset: Dataset, verify: bool) -> None:
        self.dataset, self.verify = dataset, verify
        self.name: str = dataset.name
        self.address: str = dataset.address
        self.attributes: DatasetAttributes = dataset.attributes
        self.identity: DatasetIdentity = dataset.identity
        self.layout: StoreLayout = dataset.layout
        self.corpus: CorpusSpec = dataset.attributes.corpus
        self.complete: bool = dataset.attributes.complete
        self._tables: dict[Level, ShardTable] = {}

    def __reduce__(self) -> tuple[Callable[[str, str, bool], "DatasetReader"], tuple[str, str, bool]]:
        return open_reader, (self.dataset.files.root, self.name, self.verify)

    @property
    def storage_options(self) -> dict[str, Any] | None:
        """What zarr hands to fsspec with the address; None where it is a local path."""
        return self.dataset.files.storage_options

    @cached_property
    def _corpus_arrays(self) -> CorpusArrays:
        """Read once, and kept."""
        return self.read_corpus()

    def read_corpus(self) -> CorpusArrays:
        """All that the dataset holds of its rows, found to be those of its identity; read again at every call.

        Raises:
            StoreError: an array is missing, damaged, or not the one that the states belong to.
        """
        return read_corpus(self.dataset, self.verify)

    @property
    def tokens(self) -> NDArray[np.int32]:
        """Token ids (sequence, position)."""
        return self._corpus_arrays.tokens

    @property
    def token_values(self) -> NDArray[np.int32]:
        """Distinct token ids (token,), sorted: the rows of micro."""
        return self._corpus_arrays.token_values

    @property
    def source_row(self) -> NDArray[np.int64]:
        """Row (sequence,) of the corpus's source."""
        return self._corpus_arrays.source_row

    @property
    def labels(self) -> dict[str, NDArray[Any]]:
        """Labels of the source by name, each (sequence,) numbers or texts."""
        return {name: texts_of(label) for name, label in self._corpus_arrays.labels.items()}

    @cached_property
    def texts(self) -> CorpusTexts | None:
        """What people read of the rows: text of tokens, and what rows were cut from; None where none is stored."""
        return read_texts(self.dataset, self.verify)

    def missing_shards(self, level: Level) -> list[int]:
        """Shards of macro or micro that are not there, rising."""
        return ledger.missing_shards(self.dataset, level)

    def num_rows(self, level: Level) -> int:
        """Rows of a slab: sequences for macro, distinct tokens for micro."""
        return self.layout.level(level).num_rows

    def is_stored(self, slab: Slab) -> bool:
        """True where the dataset was made with this layer (and position).

        Raises:
            InputError: no such layer or position.
        """
        self._require_cell(slab)
        return slab.cell in self.layout.level(slab.level).stored_cells

    def _require_cell(self, slab: Slab) -> None:
        states = self.layout.level(slab.level)
        grid = states.grid
        if len(slab.cell) != len(grid) or not all(0 <= place < size for place, size in zip(slab.cell, grid, strict=True)):
            raise InputError(f"{slab} does not exist: {slab.level} has ({', '.join(states.axes)}) within {grid}")

    def _require_stored(self, slab: Slab) -> None:
        if self.is_stored(slab):
            return
        states = self.layout.level(slab.level)
        stored = " and ".join(f"{axis}s {list(chosen)}" for axis, chosen in zip(states.axes, states.stored, strict=True))
        raise StoreError(f"{self.address} does not hold {slab}; stored are {stored}")

    def read_slab(self, slab: Slab, out: NDArray[Any] | None = None, verify: bool | None = None) -> NDArray[Any]:
        """All rows of one layer (and position): (row, hidden) in the stored dtype, bfloat16 as its uint16 bits.

        Args:
            slab: which.
            out: C-contiguous buffer of that shape and dtype to fill and return; a new one by default.
            verify: compare every chunk with its checksum in the ledger; by default what the reader was opened with.

        Raises:
            StoreError: not stored, not written yet, or damaged; says where.
        """
        self._require_stored(slab)
        return self.read_rows(slab, 0, self.num_rows(slab.level), out, verify)

    def read_rows(
        self, slab: Slab, start: int, stop: int, out: NDArray[Any] | None = None, verify: bool | None = None, strict: bool = True
    ) -> NDArray[Any]:
        """Rows start..stop-1 of a slab, as `read_slab`.

        With ``strict`` False, what an incomplete dataset does not hold yet is NaN; in a complete one it is an error all the same.
        """
        size = self.layout.level(slab.level).rows_per_shard
        shards = range(start // size, ceil_div(stop, size)) if stop > start else range(0)
        return self._read(
            slab, shards, range(-(start % size), stop - start, size), self._buffer(stop - start, out), verify, strict
        )

    def read_shards(self, slab: Slab, shards: Sequence[int]) -> NDArray[Any]:
        """All rows of some shards of a slab, one shard after another as `read_slab`; rows past the last of the slab are fill.

        Raises:
            StoreError: not stored, not written yet, or damaged; says where.
        """
        self._require_stored(slab)
        size = self.layout.level(slab.level).rows_per_shard
        num_rows = len(shards) * size
        return self._read(slab, shards, range(0, num_rows, size), self._buffer(num_rows), None, strict=True)

    def _buffer(self, num_rows: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Where rows are read to: ``out``, or new memory."""
        shape, dtype = (num_rows, self.layout.hidden_size), numpy_dtype(self.layout.stored_dtype)
        if out is not None and (out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous):
            raise InputError(f"out has shape {out.shape} and dtype {out.dtype}; a C-contiguous {shape} of {dtype} is needed")
        return acquire(shape, dtype) if out is None else out

    def _read(
        self, slab: Slab, shards: Sequence[int], places: Sequence[int], out: NDArray[Any], verify: bool | None, strict: bool
    ) -> NDArray[Any]:
        """Fill ``out`` with the slab's rows of ``shards``, each from its place on."""
        self._require_cell(slab)
        states = self.layout.level(slab.level)
        chunks = self._chunks(slab, shards, places, self.verify if verify is None else verify, strict)
        job, waiting = SlabRead(dataset=self.dataset, states=states, slab=slab, out=out), iter(chunks)
        in_threads(lambda: job.read(waiting), self.num_threads(slab, shards))  # whoever is free takes the next
        return out

    def _chunks(self, slab: Slab, shards: Sequence[int], places: Sequence[int], verify: bool, strict: bool) -> list[Chunk]:
        """What is to be read of each of ``shards``."""
        states, table, digest = self.layout.level(slab.level), self._table(slab.level), self.dataset.identity_digest
        extents = table.extents(slab.cell, shards, strict)
        checksums = table.checksums(slab.cell, shards) if verify else [0] * len(shards)
        keys = [self.dataset.key(states.shard_key(shard)) for shard in shards]
        labels = [ledger.chunk_label(digest, slab.level, shard, slab.cell) if verify else None for shard in shards]
        offsets, lengths = zip(*extents, strict=True) if extents else ((), ())
        return list(map(Chunk, shards, keys, offsets, lengths, places, labels, checksums))

    def num_threads(self, slab: Slab, shards: Sequence[int]) -> int:
        """Threads to read chunks of ``shards`` with: by whether the last one lies in memory."""
        if len(shards) < 2:
            return 1
        last = self._table(slab.level).extents(slab.cell, shards[-1:])[0]
        key = self.dataset.key(self.layout.level(slab.level).shard_key(shards[-1]))
        is_cached = last != ABSENT and self.dataset.files.in_memory(key, last[0])
        return min(len(shards), READERS, (os.cpu_count() or 1) if is_cached else READERS)

    def slab_array(self, slab: Slab, chunks_per_slab: int = 1) -> "dask.array.Array":
        """All rows of one layer (and position) as a lazy Dask array (row, hidden), bfloat16 decoded to float32.

        Raises:
            StoreError: not stored, or, when computed, not written yet or damaged.
        """
        from dask.array import from_array  # takes a second, which whoever reads slab by slab need not wait for

        self._require_stored(slab)
        num_rows = self.num_rows(slab.level)
        rows = ceil_div(num_rows, min(chunks_per_slab, num_rows))
        source = SlabSource(self, slab)
        name = f"slab-{uuid.uuid4().hex}"
        array: dask.array.Array = from_array(source, chunks=(rows, self.layout.hidden_size), name=name, asarray=False)
        return array

    def _table(self, level: Level) -> ShardTable:
        """Where chunks lie; before the first, that the states' metadata are such that a slab can be read directly."""
        if level not in self._tables:
            self._require_readable(level)
            self._tables[level] = ShardTable(self.dataset, level)
        return self._tables[level]

    def _require_readable(self, level: Level) -> None:
        array = self.layout.level(level).array
        found, where = require_array(self.dataset.files, self.dataset.key(array)), self.dataset.address_of(array)
        if found.inner_shape is None:
            raise StoreError(f"{where} is not cut into shards with an index at the end; rewrite it with ie-store")
        require_readable(found.inner_codecs, where)


@dataclass(frozen=True)
class SlabSource:
    """What Dask cuts into chunks: rows of one slab, read and decoded when asked for."""

    reader: DatasetReader
    slab: Slab

    @property
    def shape(self) -> tuple[int, int]:
        """(row, hidden)."""
        return self.reader.num_rows(self.slab.level), self.reader.layout.hidden_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype after decoding."""
        return decoded_dtype(self.reader.layout.stored_dtype)

    @property
    def ndim(self) -> int:
        """Two."""
        return 2

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        start, stop, _ = key[0].indices(self.shape[0])
        return decoded(self.reader.read_rows(self.slab, start, stop))[:, key[1]]
