"""From the model's hidden states to the rows of a shard: picked, cast on the device, checked, repeated, laid out."""

from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.errors import NonFiniteError
from ie_store.extract.forward.batches import Batch
from ie_store.specs import StoredDtype


class HostBuffer:
    """Host memory for the states of one group, reused group after group; pinned where a CUDA device fills it."""

    def __init__(self, num_values: int, dtype: torch.dtype, device: torch.device) -> None:
        self._flat = torch.empty(num_values, dtype=dtype, pin_memory=device.type == "cuda")
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def view(self, shape: Sequence[int]) -> Tensor:
        """The first values of the buffer as a contiguous tensor of ``shape``."""
        return self._flat[: int(np.prod(shape))].view(*shape)

    def copy(self, target: Tensor, source: Tensor, rows: Tensor | None) -> None:
        """Copy ``source``, or its ``rows``, into a part of the buffer, casting on the device; from CUDA without waiting."""
        source = source.to(target.dtype)
        if self._stream is None:
            if rows is None:
                target.copy_(source)
            else:
                torch.index_select(source, 0, rows, out=target)
            return
        source = source.contiguous() if rows is None else source.index_select(0, rows)
        self._stream.wait_stream(torch.cuda.current_stream(source.device))
        with torch.cuda.stream(self._stream):
            target.copy_(source, non_blocking=True)
        source.record_stream(self._stream)

    def finish(self) -> None:
        """Wait until all copies have arrived."""
        if self._stream is not None:
            self._stream.synchronize()


def as_stored(states: Tensor) -> NDArray[Any]:
    """A host tensor as the array that the store writes: bfloat16 as its uint16 bits. Shares memory."""
    array: NDArray[Any] = (states.view(torch.uint16) if states.dtype == torch.bfloat16 else states).numpy()
    return array


class StateSink:
    """Takes the states of each batch into a group's buffer; remembers the largest value of each layer."""

    def __init__(
        self, buffer: HostBuffer, view: Tensor, *, layers: Sequence[int], positions: Sequence[int], num_before: int
    ) -> None:
        """Prepare for one group.

        Args:
            buffer: owner of ``view``.
            view: (stored layer, stored position, row, hidden) in the stored dtype.
            layers: the stored layers.
            positions: the stored positions.
            num_before: tokens of each row that stand before position 0 (a prepended beginning-of-sequence token).
        """
        self._buffer, self._view = buffer, view
        self._layers = {layer: index for index, layer in enumerate(layers)}
        self._positions = {position + num_before: index for index, position in enumerate(positions)}
        self._limit = torch.finfo(view.dtype).max
        self._peaks: list[tuple[int, Tensor]] = []

    def keep(self, start: int, batch: Batch, layer: int, states: Tensor) -> None:
        """Store the states (node, position of the batch, hidden) of one layer, once per row of the block at ``start``."""
        offsets = _stored_offsets(batch, self._positions)
        if layer not in self._layers or not offsets:
            return
        looked_at = states if len(offsets) == states.shape[1] else states[:, offsets]
        self._peaks.append((layer, torch.stack(torch.aminmax(looked_at))))
        rows = None if batch.row_nodes is None else torch.from_numpy(batch.row_nodes).to(states.device)
        for offset in offsets:
            index = self._positions[batch.start + offset]
            target = self._view[self._layers[layer], index, start + batch.row_start : start + batch.row_stop]
            self._buffer.copy(target, states[:, offset], rows)

    def faulty_layer(self) -> int | None:
        """The first layer, since the last call, with a value that is not finite in the stored dtype."""
        peaks, self._peaks = self._peaks, []
        if not peaks:
            return None
        largest = torch.stack([peak for _, peak in peaks]).float().abs().amax(dim=1).tolist()
        return next((layer for (layer, _), value in zip(peaks, largest, strict=True) if not value <= self._limit), None)


def _stored_offsets(batch: Batch, positions: Container[int]) -> list[int]:
    """Places in a batch that are stored: what is not stored may be as large as it likes."""
    return [offset for offset in range(batch.stop - batch.start) if batch.start + offset in positions]


class FaultFinder:
    """Looks at the states of a batch for the first value that cannot be stored, and raises `NonFiniteError` with its place."""

    def __init__(
        self,
        dtype: StoredDtype,
        layers: Sequence[int],
        positions: Sequence[int],
        source_row: NDArray[np.int64],
        num_before: int,
        what: str,
    ) -> None:
        self._positions = {position + num_before for position in positions}
        self._dtype, self._limit, self._layers = dtype, torch.finfo(getattr(torch, dtype)).max, layers
        self._source_row, self._num_before, self._what = source_row, num_before, what

    def look(self, start: int, batch: Batch, layer: int, states: Tensor) -> None:
        """Raise where one of the states (node, position of the batch, hidden) is not finite or too large."""
        offsets = _stored_offsets(batch, self._positions)
        wrong = torch.nonzero(~(states[:, offsets].abs() <= self._limit))
        if layer not in self._layers or not len(wrong):
            return
        node, among_stored, column = (int(index) for index in wrong[0])
        offset = offsets[among_stored]
        row = start + batch.row_start + (node if batch.row_nodes is None else int(np.searchsorted(batch.row_nodes, node)))
        position = batch.start + offset - self._num_before
        raise NonFiniteError(
            fault_text(
                float(states[node, offset, column]),
                self._dtype,
                f"layer {layer}, "
                + (f"position {position}, " if position >= 0 else "the beginning-of-sequence token, ")
                + f"{self._what} {int(self._source_row[row])}, hidden dimension {column}",
            )
        )


def fault_text(value: float, dtype: StoredDtype, where: str) -> str:
    """What is wrong with ``value``, and the fix."""
    if np.isfinite(value):
        return (
            f"the state at {where} is {value:g}, more than {dtype} can hold ({torch.finfo(getattr(torch, dtype)).max:g}); "
            "store as --dtype bfloat16 or float32, with --replace or under another name (--as)"
        )
    return (
        f"the state at {where} is {value}: the model itself does not compute a finite number there; "
        "try --compute-dtype float32, and look for NaN or Inf in its weights"
    )
