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

ROWS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Outcomes with their states."""

    extended: Tensor
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
    standardise = _standardiser(rows, columns, torch.from_numpy(probabilities).to(device), scale)

    def fill(span: slice) -> None:
        extended[span, :size] = standardise(span)

    _over_spans(fill, rows)
    if len(rows) < size:
        span_of_states = torch.linalg.qr(extended[:, :size].double().T, mode="r").R.T
        size = span_of_states.shape[1]
        extended = torch.cat([span_of_states.float(), torch.ones((len(rows), 2), device=device)], dim=1)
    half_norms = torch.empty(len(rows), dtype=torch.float64, device=device)

    def measure(span: slice) -> None:
        half_norms[span] = extended[span, :size].double().square_().sum(dim=1).div_(2)

    _over_spans(measure, rows)
    extended[:, -1] = -half_norms
    weights = torch.from_numpy(probabilities * len(probabilities)).to(device)
    logged = torch.stack([weights, torch.xlogy(weights, weights)]).float()
    return Outcomes(extended=extended, half_norms=half_norms, weights=weights, logged=logged, past=past)


def _over_spans(fill: Callable[[slice], None], rows: Tensor) -> None:
    """Call ``fill`` with all spans of rows. It gives nothing back: small results cut up the memory that large ones leave."""
    spans = [slice(start, min(start + ROWS_AT_ONCE, len(rows))) for start in range(0, len(rows), ROWS_AT_ONCE)]
    deque(each_on_one_thread(fill, spans, rows.device), maxlen=0)


def _standardiser(rows: Tensor, columns: Tensor, probabilities: Tensor, scale: str) -> Callable[[slice], Tensor]:
    """What makes of a span of rows their states, float64: less their mean, over the scale."""

    def part(span: slice) -> Tensor:
        return (rows[span] if len(columns) == rows.shape[1] else rows[span].index_select(1, columns)).to(torch.float64, copy=True)

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
