"""The outcomes whose noisy states are told apart: their states in units of the scale, laid out for two matrix products."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.estimate.device import each_on_one_thread
from ie_store.estimate.exact.past import Past
from ie_store.estimate.stored_rows import HeldRows, NewRows, Room, StoredRows, as_rows

ROWS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Outcomes with their states."""

    extended: StoredRows
    """(outcome, dimension + 2) the states, 1, and minus half of the squared norm; float32"""
    half_norms: Tensor
    """(outcome,) half of the squared norm; float64"""
    weights: Tensor
    """(outcome,) probability times the number of outcomes; float64"""
    logged: Tensor
    """(2, outcome) the weights, and the weights times their logarithms; float32"""
    past: Past | None
    """What the outcomes stand for, where entropies of the past are wanted."""

    def tile(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """``extended`` at some rows, as exact as ``dtype`` can be."""
        found = self.extended.tile(rows).to(dtype)
        if dtype is torch.float64:
            found[:, -1] = -self.half_norms[rows]
        return found


def varying(rows: StoredRows) -> Tensor:
    """Indices (column,) of the columns of ``rows`` (row, dimension) that are not constant."""
    first = rows.tile(slice(0, 1))
    differs = torch.empty((-(-len(rows) // ROWS_AT_ONCE), rows.width), dtype=torch.bool, device=rows.device)

    def compare(span: slice) -> None:
        differs[span.start // ROWS_AT_ONCE] = (rows.tile(span) != first).any(dim=0)

    _over_spans(compare, rows)
    return torch.nonzero(differs.any(dim=0))[:, 0]


def make_outcomes(
    rows: Tensor | StoredRows,
    columns: Tensor,
    probabilities: NDArray[np.float64],
    scale: str,
    past: Past | None = None,
    room: Room | None = None,
) -> Outcomes:
    """`Outcomes` from centred rows in units of the scale, computed in float64 and kept in float32.

    Scale ``std``: each dimension's weighted standard deviation. ``rms``: the root mean square deviation over all rows
    and all dimensions with variance. Fewer outcomes than dimensions are turned into a basis of their span: noise across it
    says nothing. Beside the rows, one float32 copy of them is made.

    Args:
        rows: (outcome, dimension) finite.
        columns: (column,) dimensions with variance, at least one.
        probabilities: (outcome,)
        scale: of the noise.
        past: of the outcomes.
        room: for the copy; None for memory.
    """
    rows = as_rows(rows)
    device, size = rows.device, len(columns)
    room = room or Room(device)
    extended: NewRows = room.make(len(rows), size + 2, torch.float32)
    half_norms = torch.empty(len(rows), dtype=torch.float64, device=device)
    standardise = _standardiser(rows, columns, torch.from_numpy(probabilities).to(device), scale)

    def fill(span: slice) -> None:
        tile = torch.ones((span.stop - span.start, size + 2), device=device)
        tile[:, :size] = standardise(span)
        half_norms[span] = _half_norms(tile[:, :size])
        tile[:, -1] = -half_norms[span]
        extended.write(span.start, tile)

    _over_spans(fill, rows)
    if len(rows) < size:
        span_of_states = torch.linalg.qr(extended.tile(slice(None))[:, :size].double().T, mode="r").R.T
        half_norms = _half_norms(span_of_states.float())
        ones = torch.ones((len(rows), 1), device=device)
        extended = HeldRows(torch.cat([span_of_states.float(), ones, -half_norms[:, None].float()], dim=1))
    weights = torch.from_numpy(probabilities * len(probabilities)).to(device)
    logged = torch.stack([weights, torch.xlogy(weights, weights)]).float()
    return Outcomes(extended=extended, half_norms=half_norms, weights=weights, logged=logged, past=past)


def _half_norms(states: Tensor) -> Tensor:
    """(outcome,) half of the squared norms of ``states`` (outcome, dimension), float64."""
    return states.double().square_().sum(dim=1).div_(2)


def _spans(rows: StoredRows) -> list[slice]:
    return [slice(start, min(start + ROWS_AT_ONCE, len(rows))) for start in range(0, len(rows), ROWS_AT_ONCE)]


def _over_spans(fill: Callable[[slice], None], rows: StoredRows) -> None:
    """Call ``fill`` with all spans of rows. It gives nothing back: small results cut up the memory that large ones leave."""
    deque(each_on_one_thread(fill, _spans(rows), rows.device), maxlen=0)


def _standardiser(rows: StoredRows, columns: Tensor, probabilities: Tensor, scale: str) -> Callable[[slice], Tensor]:
    """What makes of a span of rows their states, float64: less their mean, over the scale."""

    def part(span: slice) -> Tensor:
        tile = rows.tile(span)
        return (tile if len(columns) == rows.width else tile.index_select(1, columns)).to(torch.float64, copy=True)

    def mean_of(values: Callable[[slice], Tensor]) -> Tensor:
        sums = probabilities.new_empty((-(-len(rows) // ROWS_AT_ONCE), len(columns)))

        def fill(span: slice) -> None:
            sums[span.start // ROWS_AT_ONCE] = probabilities[span] @ values(span)

        _over_spans(fill, rows)
        return sums.sum(dim=0)

    mean = mean_of(part)
    variance = mean_of(lambda span: part(span).sub_(mean).square_())
    unit = variance.sqrt() if scale == "std" else variance.mean().sqrt()
    return lambda span: part(span).sub_(mean).div_(unit)
