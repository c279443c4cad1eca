"""May prefixes be shared? Tried on the corpus itself: the shared forward must compute what the plain one does."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.extract.forward.batches import Batch, TileBatches, make_batches
from ie_store.extract.forward.prefix_forward import TileForward
from ie_store.extract.model.decoder import Decoder, relative_error
from ie_store.prefixes import common_prefix_lengths, make_segments


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """Whether distinct prefixes are computed once, and if not, why."""

    shared: bool
    reason: str
    """Empty where shared."""
    slot_bytes: int = 0
    """Bytes of keys and values per token."""


TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 6e-2, torch.float16: 1e-2}
"""Relative error per layer up to which the shared forward counts as equal to the plain one, by compute dtype."""
CHECKED_ROWS = 6
"""Rows that the check runs."""


def check_sharing(decoder: Decoder, tokens: NDArray[np.int32], device: torch.device) -> Sharing:
    """Compare the shared with the plain forward on the corpus's own first rows, with every kind of step.

    Args:
        decoder: the model.
        tokens: (row, position), sorted, as the model sees them; the first `CHECKED_ROWS` are run.
        device: where the model is.
    """
    rows = tokens[:CHECKED_ROWS]
    num_positions = rows.shape[1]
    if num_positions == 1:
        return Sharing(shared=True, reason="")
    cuts = sorted({1, 2, num_positions // 2, num_positions - 1, num_positions} & set(range(1, num_positions + 1)))
    name = type(decoder.module).__name__
    forward_plan = make_batches(rows, make_segments(common_prefix_lengths(rows), tuple(cuts)), rows_per_batch=len(rows))
    forward = TileForward(decoder, forward_plan, device)
    try:
        shared = states_of_rows(forward, forward_plan, rows.shape, decoder.num_layers)
    except Exception as error:  # whatever a model without the standard cache raises; the plain forward does not use one
        return Sharing(shared=False, reason=f"{name} does not work with the standard cache ({_first_line(error)})")
    plain = decoder.plain_states(torch.from_numpy(rows.astype(np.int64)).to(device))
    errors = [relative_error(mine, theirs) for mine, theirs in zip(shared, plain, strict=True)]
    if not max(errors) <= TOLERANCES[plain[0].dtype]:
        return Sharing(
            shared=False,
            reason=f"{name} computes other states from cached prefixes (relative error {max(errors):.2g} at layer "
            f"{int(np.argmax(errors))})",
        )
    if plain[0].dtype != torch.float32 and forward.num_cached_layers < len(decoder.blocks):
        return Sharing(
            shared=False, reason=f"some blocks of {name} use no standard cache, and rounding hides whether they need one"
        )
    return Sharing(shared=True, reason="", slot_bytes=forward.slot_bytes)


def states_of_rows(forward: TileForward, plan: TileBatches, shape: tuple[int, ...], num_layers: int) -> list[Tensor]:
    """States (row, position, hidden) of each layer from a forward over rows of ``shape`` (row, position)."""
    states: dict[int, Tensor] = {}

    def keep(batch: Batch, layer: int, found: Tensor) -> None:
        if layer not in states:
            states[layer] = found.new_empty((*shape, found.shape[-1]))
        rows = slice(None) if batch.row_nodes is None else torch.from_numpy(batch.row_nodes).to(found.device)
        states[layer][batch.row_start : batch.row_stop, batch.start : batch.stop] = found[rows]

    for batch in plan.batches:
        forward.run(batch, keep)
    return [states[layer] for layer in range(num_layers)]


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:120]}" if text else type(error).__name__
