"""Sums of Gaussian kernels between all pairs of rows, at many widths at once, in tiles.

Distances come from one matmul per tile in float32. Where both rows of a pair are far from the centre, their small
distance is the difference of large numbers: rows are sorted by norm, and the few tiles in which both sides are far are
computed in float64. Every sum holds its own row (distance exactly 0), so none vanishes and no maximum is subtracted.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.options import OnProgress, Progress, ignore_progress

TILE_ROWS = {"cpu": (1024, 1024), "cuda": (8192, 8192)}
FAR_NORM = 8.0
"""Squared norm per dimension, in units of the mean, from which rows count as far. At most 1/8 of the weight is."""
LEAST_EXPONENT = -60.0
"""Kernels below exp(-60) count as exp(-60): nothing beside a row's own weight, and denormal numbers are slow."""


def log_kernel_sums(
    rows: Tensor,
    weights: NDArray[np.float64],
    outer: NDArray[np.int64],
    rates: Sequence[float],
    on_progress: OnProgress = ignore_progress,
) -> NDArray[np.float64]:
    """ln sum_j w_j exp(-rate * |x_i - x_j|^2), as (outer, rate).

    Args:
        rows: (row, dimension) float32, centred, with a mean squared norm near ``dimension``.
        weights: (row,) positive.
        outer: (outer,) distinct, rising indices of the rows i. Taking all of them halves the work by symmetry.
        rates: (rate,) positive, per squared distance.
        on_progress: called with every strip of tiles.
    """
    by_norm = torch.argsort(rows.square().sum(dim=1), descending=True, stable=True)
    order = by_norm.cpu().numpy()
    chosen = np.flatnonzero(np.isin(order, outer))
    sorted_weights, sorted_outer = (torch.from_numpy(values).to(rows.device) for values in (weights[order], chosen))
    sums = _sums_sorted(rows[by_norm], sorted_weights, sorted_outer, rates, on_progress)
    result = np.empty((len(outer), len(rates)))
    result[np.searchsorted(outer, order[chosen])] = sums.log().cpu().numpy()
    return result


def _sums_sorted(rows: Tensor, weights: Tensor, outer: Tensor, rates: Sequence[float], on_progress: OnProgress) -> Tensor:
    """Kernel sums (outer, rate) in float64, of rows sorted by falling norm."""
    num_outer, num_rows = len(outer), len(rows)
    symmetric = num_outer == num_rows
    tall, wide = TILE_ROWS.get(rows.device.type, TILE_ROWS["cuda"])
    wide = tall if symmetric else wide  # square tiles: a tile is on the diagonal or wholly off it, never both
    norms = rows.double().square().sum(dim=1)
    far = norms > FAR_NORM * rows.shape[1]
    single = weights.float()
    sums = torch.zeros((num_outer, len(rates)), dtype=torch.float64, device=rows.device)
    for top in range(0, num_outer, tall):
        left = outer[top : top + tall]
        for start in range(top if symmetric else 0, num_rows, wide):
            right = slice(start, min(start + wide, num_rows))
            # Norms fall: where the first row of either side is not far, none of that side is.
            dtype = torch.float64 if bool(far[left[0]]) and bool(far[start]) else torch.float32
            distances = _squared_distances(rows[left].to(dtype), rows[right].to(dtype), norms[left], norms[right])
            own = left[:, None] == torch.arange(right.start, right.stop, device=rows.device)
            distances[own] = 0.0
            for index, rate in enumerate(rates):
                kernel = torch.mul(distances, -rate).clamp_(min=LEAST_EXPONENT).exp_()
                sums[top : top + tall, index] += kernel @ single[right]
                # A tile above the diagonal stands for its mirror image below, which is never visited; the diagonal holds both.
                if symmetric and start > top:
                    sums[right, index] += kernel.T @ single[left]
        on_progress(Progress(stage="noise", done=min(top + tall, num_outer), total=num_outer, unit="rows"))
    return sums


def _squared_distances(left: Tensor, right: Tensor, left_norms: Tensor, right_norms: Tensor) -> Tensor:
    """|a - b|^2 (left, right) in float32 from one matmul in the dtype of the rows."""
    products = torch.addmm(right_norms.to(left.dtype), left, right.T, alpha=-2)
    return products.add_(left_norms.to(left.dtype)[:, None]).clamp_(min=0.0).float()
