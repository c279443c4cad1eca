"""The prefix-shared forward: every distinct prefix of a group goes through the model once."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ie_store.errors import InputError
from ie_store.extract.forward.batches import Batch, TileBatches
from ie_store.extract.forward.prefix_cache import make_cache
from ie_store.extract.model.block_hooks import hooked
from ie_store.extract.model.decoder import Decoder

OnLayer = Callable[[Batch, int, Tensor], None]
"""Called with the batch, the layer and its states (node, position of the batch, hidden)."""


class TileForward:
    """Runs the batches of one block, in order, over one cache."""

    def __init__(self, decoder: Decoder, plan: TileBatches, device: torch.device) -> None:
        self._decoder, self._device = decoder, device
        self._cache, self._step = make_cache(plan.num_slots)
        self._needs_cache = plan.num_slots > 0

    @property
    def slot_bytes(self) -> int:
        """Bytes that one token takes in the cache, all layers together; known after a forward."""
        return sum(pool[0].nbytes for pool in self._pools)

    @property
    def num_cached_layers(self) -> int:
        """Attention layers whose keys and values the cache has been given."""
        return len(self._pools) // 2

    @property
    def _pools(self) -> list[Tensor]:
        layers: Any = self._cache.layers
        return [pool for layer in layers for pool in (layer.keys, layer.values) if pool is not None]

    def run(self, batch: Batch, on_layer: OnLayer) -> None:
        """One forward. Running a batch again computes the same.

        Raises:
            InputError: the device's memory is too small for the batch.
        """
        arguments: dict[str, Any] = {"input_ids": torch.from_numpy(batch.tokens).to(self._device), "use_cache": False}
        if self._needs_cache:
            self._step.num_past, self._step.first_slot = batch.start, batch.first_slot
            self._step.block_table = None if batch.block_table is None else torch.from_numpy(batch.block_table).to(self._device)
            arguments |= {"past_key_values": self._cache, "use_cache": True}
        decoder = self._decoder
        with torch.inference_mode(), hooked(decoder.blocks, partial(on_layer, batch), decoder.last_layer):
            try:
                decoder.module(**arguments)
            except torch.OutOfMemoryError:
                raise InputError(
                    f"a forward of {batch.tokens.shape[0]} prefixes x {batch.tokens.shape[1]} tokens does not fit into "
                    f"the memory of {self._device}; give a smaller --batch-size, with --replace or another --as"
                ) from None
