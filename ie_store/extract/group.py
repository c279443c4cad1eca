"""One group of rows, or one table of lone tokens, from token ids to states in host memory."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.errors import NonFiniteError
from ie_store.extract.batches import Batch, GroupBatches, make_batches, segments_of
from ie_store.extract.forward import GroupForward
from ie_store.extract.model import LoadedModel
from ie_store.extract.states import FaultFinder, HostBuffer, StateSink
from ie_store.specs import Level, StoreLayout

OnTokens = Callable[[int, int], None]
"""Called after each batch with the tokens computed so far and in all."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Everything that turns rows of tokens into states: the model, the layout and whether prefixes are shared."""

    model: LoadedModel
    layout: StoreLayout
    shared: bool

    def model_rows(self, tokens: NDArray[np.int32], positions: tuple[int, ...]) -> NDArray[np.int32]:
        """Rows (row, position) as the model sees them: up to the last position wanted, with what is prepended."""
        rows = tokens[:, : positions[-1] + 1]
        if self.model.bos_id is None:
            return rows
        first = np.full((len(rows), 1), self.model.bos_id, dtype=rows.dtype)
        return np.concatenate([first, rows], axis=1)

    def positions(self, level: Level) -> tuple[int, ...]:
        """Positions whose states are kept: those of the layout, and the only one of a lone token."""
        return self.layout.positions if level == "macro" else (0,)

    def batches(self, level: Level, tokens: NDArray[np.int32]) -> GroupBatches:
        """The forwards that compute the states of rows ``tokens`` (row, position)."""
        rows = self.model_rows(tokens, self.positions(level))
        return make_batches(rows, segments_of(rows, self.shared), self.layout.rows_per_batch)

    def fill(
        self,
        level: Level,
        tokens: NDArray[np.int32],
        source_row: NDArray[np.int64],
        buffer: HostBuffer,
        on_tokens: OnTokens,
    ) -> Tensor:
        """Compute the states of a group into ``buffer``.

        Args:
            level: macro, or micro for lone tokens.
            tokens: (row, position), sorted; micro: (token, 1).
            source_row: (row,) what to call a row in a message; micro: the token ids.
            buffer: host memory.
            on_tokens: told of progress.

        Returns:
            (stored layer, stored position, row, hidden), a view of ``buffer``.

        Raises:
            NonFiniteError: a value that is not finite, or that the stored dtype cannot hold.
        """
        layout, positions = self.layout, self.positions(level)
        plan = self.batches(level, tokens)
        view = buffer.view((len(layout.layers), len(positions), len(tokens), layout.hidden_size))
        num_before = int(self.model.bos_id is not None)
        sink = StateSink(buffer, view, layers=layout.layers, positions=positions, num_before=num_before)
        forward = GroupForward(self.model.decoder, plan, self.model.device)
        done = 0
        for batch in plan.batches:
            forward.run(batch, sink.keep)
            layer = sink.faulty_layer()
            if layer is not None:
                self._raise_fault(forward, batch, layer, level, source_row)
            done += batch.num_tokens
            on_tokens(done, plan.num_tokens)
        buffer.finish()
        return view

    def _raise_fault(self, forward: GroupForward, batch: Batch, layer: int, level: Level, source_row: NDArray[np.int64]) -> None:
        """Run the batch again to find the place, and raise."""
        dtype = self.layout.stored_dtype
        what = "source row" if level == "macro" else "lone token"
        limit = torch.finfo(getattr(torch, dtype)).max
        finder = FaultFinder(dtype, limit, source_row, int(self.model.bos_id is not None), what)
        forward.run(batch, lambda batch, at, states: finder.look(batch, at, states) if at == layer else None)
        raise NonFiniteError(f"layer {layer} held a value that {dtype} cannot hold, and computing it again gave another one")
