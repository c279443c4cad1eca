"""The outcomes whose noisy states are told apart: their states in units of the scale, laid out for two matrix products."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.estimate.exact.past import Past

ROWS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Outcomes with their states."""

    extended: Tensor
    """(outcome, dimension + 2) the states, 1, and minus half of the squared norm; float32"""
    half_norms: Tensor
    """(outcome,) half of the squared norm; float64"""
    weights: Tensor
    """(outcome,) probability times the number of outcomes; float64"""
    past: Past | None
    """What the outcomes stand for, where entropies of the past are wanted."""

    def tile(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """``extended`` at some rows, as exact as ``dtype`` can be."""
        found = self.extended[rows].to(dtype)
        if dtype is torch.float64:
            found[:, -1] = -self.half_norms[rows]
        return found


def varying(rows: Tensor) -> Tensor:
    """Indices (column,) of the columns of ``rows`` (row, dimension) that are not constant."""
    return torch.nonzero(rows.amax(dim=0) > rows.amin(dim=0))[:, 0]


def make_outcomes(
    rows: Tensor, columns: Tensor, probabilities: NDArray[np.float64], scale: str, past: Past | None = None
) -> Outcomes:
    """`Outcomes` from centred rows in units of the scale, computed in float64 and kept in float32.

    Scale ``std``: each dimension's weighted standard deviation. ``rms``: the root mean square deviation over all rows
    and all dimensions with variance. Fewer outcomes than dimensions are turned into a basis of their span: noise across it
    says nothing. Beside the rows, one float32 copy of them is held.

    Args:
        rows: (outcome, dimension) finite.
        columns: (column,) dimensions with variance, at least one.
        probabilities: (outcome,)
        scale: of the noise.
        past: of the outcomes.
    """
    device, size = rows.device, len(columns)
    extended = torch.ones((len(rows), size + 2), device=device)
    half_norms = torch.empty(len(rows), dtype=torch.float64, device=device)
    for span, states in _standardised(rows, columns, torch.from_numpy(probabilities).to(device), scale):
        extended[span, :size] = states
    if len(rows) < size:
        span_of_states = torch.linalg.qr(extended[:, :size].double().T, mode="r").R.T
        size = span_of_states.shape[1]
        extended = torch.cat([span_of_states.float(), torch.ones((len(rows), 2), device=device)], dim=1)
    for span in _spans(len(rows)):
        half_norms[span] = extended[span, :size].double().square().sum(dim=1) / 2
    extended[:, -1] = -half_norms
    weights = torch.from_numpy(probabilities * len(probabilities)).to(device)
    return Outcomes(extended=extended, half_norms=half_norms, weights=weights, past=past)


def _spans(num_rows: int) -> list[slice]:
    return [slice(start, min(start + ROWS_AT_ONCE, num_rows)) for start in range(0, num_rows, ROWS_AT_ONCE)]


def _standardised(rows: Tensor, columns: Tensor, probabilities: Tensor, scale: str) -> Iterator[tuple[slice, Tensor]]:
    """Rows by rows, float64: less their mean, over the scale."""
    spans = _spans(len(rows))

    def part(span: slice) -> Tensor:
        return rows[span].index_select(1, columns).double()

    mean = torch.stack([probabilities[span] @ part(span) for span in spans]).sum(dim=0)
    variance = torch.stack([probabilities[span] @ (part(span) - mean).square() for span in spans]).sum(dim=0)
    unit = variance.sqrt() if scale == "std" else variance.mean().sqrt()
    for span in spans:
        yield span, (part(span) - mean) / unit
