"""One group of rows, or one table of lone tokens, from token ids to states in host memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ie_store.errors import NonFiniteError
from ie_store.extract.forward.batches import TileBatches, tile_batches
from ie_store.extract.forward.prefix_forward import TileForward
from ie_store.extract.forward.sharing import Sharing
from ie_store.extract.forward.states import FaultFinder, HostBuffer, StateSink
from ie_store.extract.forward.tiles import Tile, plan_tiles
from ie_store.extract.model.load import LoadedModel
from ie_store.extract.work import WorkItem
from ie_store.specs import Level, StoreLayout

CACHE_BYTES = {False: 192 * 2**20, True: 4 * 2**30}
"""Most memory for keys and values of shared prefixes: in host memory, on a CUDA device."""
OnTokens = Callable[[int, int], None]
"""Called after each batch with the tokens computed so far and in all."""


def model_rows(tokens: NDArray[np.int32], positions: tuple[int, ...], bos_id: int | None) -> NDArray[np.int32]:
    """Rows (row, position) as the model sees them: up to the last of the wanted ``positions``, after what is prepended."""
    rows = tokens[:, : positions[-1] + 1]
    if bos_id is None:
        return rows
    return np.concatenate([np.full((len(rows), 1), bos_id, dtype=rows.dtype), rows], axis=1)


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Everything that turns rows of tokens into states: the model, the layout and whether prefixes are shared."""

    model: LoadedModel
    layout: StoreLayout
    sharing: Sharing

    def positions(self, level: Level) -> tuple[int, ...]:
        """Positions whose states are kept: those of the layout, and the only one of a lone token."""
        return self.layout.positions if level == "macro" else (0,)

    def num_values(self, item: WorkItem) -> int:
        """Values of an item's states: what a buffer has to hold."""
        return len(self.layout.level(item.level).stored_cells) * item.num_rows * self.layout.hidden_size

    def tiles(self, level: Level, tokens: NDArray[np.int32]) -> tuple[Tile, ...]:
        """How the states of rows ``tokens`` (row, position) are to be computed."""
        limit = CACHE_BYTES[self.model.device.type == "cuda"] // max(1, self.sharing.slot_bytes)
        rows = self._model_rows(level, tokens)
        return plan_tiles(rows, self.layout.rows_per_batch, sharing=self.sharing.shared, slots_limit=limit)

    def batches(self, level: Level, tokens: NDArray[np.int32], tiles: tuple[Tile, ...]) -> Iterator[TileBatches]:
        """The forwards of planned ``tiles`` over rows ``tokens`` (row, position), one tile's after the other's."""
        rows = self._model_rows(level, tokens)
        return (tile_batches(rows, tile) for tile in tiles)

    def _model_rows(self, level: Level, tokens: NDArray[np.int32]) -> NDArray[np.int32]:
        return model_rows(tokens, self.positions(level), self.model.bos_id)

    def fill(
        self,
        item: WorkItem,
        tokens: NDArray[np.int32],
        source_row: NDArray[np.int64],
        buffer: HostBuffer,
        on_tokens: OnTokens,
    ) -> Tensor:
        """Compute the states of an item into ``buffer``, in the tiles that it was planned in.

        Args:
            item: what to compute.
            tokens: its rows (row, position), sorted; micro: (token, 1).
            source_row: (row,) what to call a row in a message; micro: the token ids.
            buffer: host memory.
            on_tokens: called with progress.

        Returns:
            (stored layer, stored position, row, hidden), a view of ``buffer``.

        Raises:
            NonFiniteError: a value that is not finite, or that the stored dtype cannot hold.
        """
        layout, positions = self.layout, self.positions(item.level)
        view = buffer.view((len(layout.layers), len(positions), len(tokens), layout.hidden_size))
        sink = StateSink(buffer, view, layers=layout.layers, positions=positions, num_before=self._num_before)
        done = 0
        for tile in self.batches(item.level, tokens, item.tiles):
            forward = TileForward(self.model.decoder, tile, self.model.device)
            for batch in tile.batches:
                forward.run(batch, partial(sink.keep, tile.start))
                layer = sink.faulty_layer()
                if layer is not None:
                    forward.run(batch, partial(self._finder(item.level, source_row).look, tile.start))
                    raise NonFiniteError(f"layer {layer} held a value that cannot be stored; computed again it could")
                done += batch.num_tokens
                on_tokens(done, item.num_tokens)
        buffer.finish()
        return view

    @property
    def _num_before(self) -> int:
        return int(self.model.bos_id is not None)

    def _finder(self, level: Level, source_row: NDArray[np.int64]) -> FaultFinder:
        what = "source row" if level == "macro" else "lone token"
        positions = self.positions(level)
        return FaultFinder(self.layout.stored_dtype, self.layout.layers, positions, source_row, self._num_before, what)
