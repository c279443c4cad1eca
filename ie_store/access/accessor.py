"""``ds.ie``: what a dataset that `ie_store.open_store` gave can do beside what xarray does. Importing this registers it."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ie_store.errors import InputError
from ie_store.fields import require_seed, require_whole
from ie_store.specs import Slab
from ie_store.store.open import DatasetReader, reader_of

if TYPE_CHECKING:
    import torch

    from ie_store.access.batches import BatchDtype, Batches

MEMORY_BYTES = 4 * 2**30
"""That the rows of batches may take, unless asked otherwise."""


@xr.register_dataset_accessor("ie")  # type: ignore[no-untyped-call]
class IeAccessor:
    """Of a dataset of hidden states, or a selection of its sequences."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @cached_property
    def reader(self) -> DatasetReader:
        """Reads slabs straight from the store.

        Raises:
            InputError: xarray lost track of where the dataset was opened from.
        """
        return reader_of(self._dataset)

    @property
    def _sequences(self) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """(sequence,) numbers of those that are selected."""
        chosen = self._dataset.coords.get("sequence")
        if chosen is None or chosen.dims != ("sequence",) or chosen.size == 0:
            raise InputError("no sequence is selected: choose some with sel(sequence=[...]) or isel(sequence=slice(...))")
        return np.asarray(chosen.values, dtype=np.int64)

    def text(self) -> xr.Dataset:
        """The selected rows as people read them.

        Returns:
            ``token_text`` (sequence, position), the text of each token, at all positions; ``text`` (sequence,), a row's tokens
            as one text; ``source_text`` (sequence,), the sentence that a row was cut from, where the corpus has such. Beside
            them ``source_row`` and the labels of the source. All are Python strings, as they are: `ie_store.printable.printable`
            makes one fit for a terminal.

        Raises:
            InputError: the dataset was stored without texts, as token ids are where the model has no tokenizer.
            StoreError: the texts are damaged.
        """
        from ie_store.access.text import read_text

        return read_text(self.reader, self._sequences, self._dataset)

    def sample(self, n: int, seed: int = 0) -> xr.Dataset:
        """``n`` sequences drawn without replacement, in the order in which they are stored.

        Args:
            n: how many.
            seed: the same seed draws the same sequences.

        Raises:
            InputError: there are fewer.
        """
        sequences = self._sequences
        require_whole("n", n, 1)
        require_seed(seed)
        if n > len(sequences):
            raise InputError(f"n is {n:,} and the dataset has {len(sequences):,} sequences; ask for at most so many")
        drawn = np.random.default_rng(seed).choice(len(sequences), size=n, replace=False, shuffle=False)
        return self._dataset.isel(sequence=np.sort(drawn))

    def batches(
        self,
        layer: int,
        position: int,
        batch_size: int = 256,
        shuffle: bool = True,
        device: "str | torch.device" = "cpu",
        *,
        dtype: "BatchDtype" = "float32",
        seed: int = 0,
        epochs: int = 1,
        start: int = 0,
        memory_bytes: int = MEMORY_BYTES,
    ) -> "Batches":
        """The states of one layer and position in batches, as a `torch.utils.data.IterableDataset`.

        The order follows from ``seed``, ``memory_bytes`` and the selected sequences alone, and is another one in each epoch;
        so a run that was stopped goes on with ``start``. It is a uniform permutation where the rows fit into ``memory_bytes``:
        they are read once then. Where they do not, every epoch reads shards in another order and mixes the rows of as many
        shards as fit: ``batches.order`` says so.

        Args:
            layer: which.
            position: which.
            batch_size: rows of a batch; the last of an epoch may have fewer.
            shuffle: False gives rows as they are stored.
            device: that the states of a batch are moved to.
            dtype: ``float32``, or ``stored``: float16, bfloat16 or float32 as they are in the store.
            seed: of the shuffle.
            epochs: times that all rows come, one after another.
            start: batches left out at the beginning, of all epochs.
            memory_bytes: of main memory for the shards whose rows are mixed, as stored.

        Returns:
            An iterable of `Batch`: ``states`` (row, hidden) on ``device`` and ``sequence`` (row,), the sequences that the rows
            are of, as ``ds.sel(sequence=batch.sequence)`` takes them. Give it to a `DataLoader` with ``batch_size=None``.

        Raises:
            InputError: an argument that cannot be, or a layer or position that is not stored.
            StoreError: while iterating: states that are damaged, or not written yet.
        """
        import torch

        from ie_store.access.batches import Batches

        reader, slab = self.reader, Slab(level="macro", layer=layer, position=position)
        if not reader.is_stored(slab):
            stored = f"layers {list(reader.layout.layers)} and positions {list(reader.layout.positions)}"
            raise InputError(f"layer {layer}, position {position} is not stored; stored are {stored}")
        return Batches(
            reader=reader, slab=slab, rows=_rising(self._sequences), batch_size=batch_size, shuffle=shuffle,
            device=torch.device(device), dtype=dtype, seed=seed, epochs=epochs, start=start, memory_bytes=memory_bytes,
        )  # fmt: skip


def _rising(numbers: "np.ndarray[Any, np.dtype[np.int64]]") -> "np.ndarray[Any, np.dtype[np.int64]]":
    """A sorted copy of numbers, which mostly are sorted already."""
    return numbers.copy() if bool((np.diff(numbers) > 0).all()) else np.sort(numbers)
