"""The spectrum of a layer: eigenvalues of the covariance of its rows as listed, and how many directions they fill.

A few rows of massive activation (Sun et al. 2024) can own most of the variance, and one direction most of the rest: so every
number is also given without either. All sums are taken in float64, tile by tile.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.estimate.profiles.layer_states import Described, LayerStates
from ie_store.estimate.stored_rows import ChosenRows, StoredRows, as_rows
from ie_store.profile_options import SpectrumOptions
from ie_store.profiles import SPECTRA, ProfileMethod
from ie_store.variables import Piece, coordinate, piece

ROWS_AT_ONCE = 4096
Eigenvalues = NDArray[np.float64]
Counts = NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Of some rows, weighted by how often they are listed."""

    weight: float
    mean: Tensor
    """(hidden,) float64"""
    scatter: Tensor
    """(hidden, hidden) float64, the weighted sum of the products of deviations from the mean"""

    def __add__(self, other: "Moments") -> "Moments":
        """Moments of both sets of rows together (Chan, Golub and LeVeque 1983)."""
        if not self.weight or not other.weight:
            return self if self.weight else other
        weight, step = self.weight + other.weight, other.mean - self.mean
        return Moments(
            weight=weight,
            mean=self.mean + step * (other.weight / weight),
            scatter=self.scatter + other.scatter + torch.outer(step, step) * (self.weight * other.weight / weight),
        )


def moments(rows: Tensor | StoredRows, counts: Counts) -> Moments:
    """Weight, mean and scatter of ``rows`` (row, hidden), each listed ``counts`` (row,) times."""
    rows = as_rows(rows)
    weights = torch.from_numpy(counts.astype(np.float64)).to(rows.device)
    mean, scatter = weights.new_zeros(rows.width), weights.new_zeros(2 * [rows.width])
    for span, tile in _tiles(rows):
        mean += weights[span] @ tile
    mean /= max(1.0, float(weights.sum()))
    weighted, product = weights.new_empty(min(ROWS_AT_ONCE, len(rows)), rows.width), torch.empty_like(scatter)
    for span, tile in _tiles(rows):
        tile -= mean
        scatter += torch.mm(tile.T, torch.mul(tile, weights[span, None], out=weighted[: len(tile)]), out=product)
    return Moments(weight=float(weights.sum()), mean=mean, scatter=scatter)


def _tiles(rows: StoredRows) -> Iterator[tuple[slice, Tensor]]:
    """Some ``rows`` after the other in float64, to be written to, each in the place of those before.

    New memory for each leaves holes that the next does not fit into: half as much again, in some runs.
    """
    place = torch.empty((min(ROWS_AT_ONCE, len(rows)), rows.width), dtype=torch.float64, device=rows.device)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        span = slice(start, min(start + ROWS_AT_ONCE, len(rows)))
        yield span, place[: span.stop - start].copy_(rows.tile(span))


def is_massive(rows: Tensor | StoredRows, counts: Counts, multiple: float) -> NDArray[np.bool_]:
    """(row,) True where the squared norm exceeds ``multiple`` times its median over the rows as listed."""
    rows = as_rows(rows)
    norms = torch.empty(len(rows), dtype=torch.float64, device=rows.device)  # a tile's own results would lie between tiles
    for span, tile in _tiles(rows):
        norms[span] = tile.square_().sum(dim=1)
    squared = norms.cpu().numpy()
    order = np.argsort(squared)
    listed = np.cumsum(counts[order])
    median = squared[order[np.searchsorted(listed, listed[-1] / 2)]]
    massive: NDArray[np.bool_] = squared > multiple * median
    return massive


def eigenvalues(found: Moments) -> Eigenvalues:
    """(hidden,) eigenvalues of the covariance, falling; what rounding leaves of those that are 0 is 0."""
    if not found.weight:
        return np.zeros(len(found.mean))
    values: Eigenvalues = torch.linalg.eigvalsh(found.scatter / found.weight).flip(0).cpu().numpy()
    return np.where(values > values[0] * len(values) * np.finfo(np.float64).eps, values, 0.0)


def effective_rank(values: Eigenvalues) -> float:
    """exp of the entropy of the normalised eigenvalues (Roy and Vetterli 2007); NaN where all are 0."""
    positive = values[values > 0]
    if not len(positive):
        return float("nan")
    shares = positive / positive.sum()
    return float(np.exp(-(shares @ np.log(shares))))


def participation_ratio(values: Eigenvalues) -> float:
    """Squared sum of the eigenvalues over the sum of their squares; NaN where all are 0."""
    shares = values / values.max(initial=0.0) if values.any() else values
    return float(shares.sum() ** 2 / (shares @ shares)) if values.any() else float("nan")


def needs(method: ProfileMethod, num_rows: int, hidden_size: int) -> int:
    """Bytes: scatters with what decomposes them, tiles in float64, and numbers of each row."""
    return 8 * 8 * hidden_size**2 + 3 * 8 * ROWS_AT_ONCE * hidden_size + 64 * num_rows


def measure(method: ProfileMethod, states: LayerStates) -> Described:
    """The spectrum of the layer that ``states`` stands at."""
    options: SpectrumOptions = method.options
    rows, counts = states.rows(states.layer), states.distinct(states.layer).counts
    massive = is_massive(rows, counts, options.massive)
    spectra = _spectra(rows, counts, massive)
    values: dict[str, object] = {
        "num_rows": counts.sum(),
        "num_massive": counts[massive].sum(),
        "num_massive_distinct": massive.sum(),
    }
    for ending, spectrum in spectra.items():
        values |= _shares(ending, spectrum, options.eigenvalues)
    for ending in SPECTRA:
        spectrum = spectra["_without_massive" if "massive" in ending else ""][1 if ending.endswith("first") else 0 :]
        values[f"effective_rank{ending}"] = effective_rank(spectrum)
        values[f"participation_ratio{ending}"] = participation_ratio(spectrum)
    flags = () if spectra[""].any() else ("all rows of the layer are equal: there is no spectrum",)
    return Described(pieces=tuple(_pieces(method, states, values)), flags=flags)


def _spectra(rows: StoredRows, counts: Counts, massive: NDArray[np.bool_]) -> dict[str, Eigenvalues]:
    """Eigenvalues with and without massive rows, by ending."""
    if not massive.any():
        return dict.fromkeys(("", "_without_massive"), eigenvalues(moments(rows, counts)))
    apart, others = (
        moments(ChosenRows(rows, torch.from_numpy(np.flatnonzero(chosen)).to(rows.device)), counts[chosen])
        for chosen in (massive, ~massive)
    )
    return {"": eigenvalues(apart + others), "_without_massive": eigenvalues(others)}


def _shares(ending: str, spectrum: Eigenvalues, stored: int) -> dict[str, object]:
    total = spectrum.sum()
    shares = spectrum / total if total > 0 else np.full_like(spectrum, np.nan)
    return {
        f"total_variance{ending}": total,
        f"eigenvalue_share{ending}": shares[:stored],
        f"eigenvalue_share_rest{ending}": shares[stored:].sum() if total > 0 else None,
    }


def _pieces(method: ProfileMethod, states: LayerStates, values: dict[str, object]) -> list[Piece]:
    at = (states.layer,), (states.position,)
    ranks = range(min(method.options.eigenvalues, states.rows(states.layer).width))
    made = [coordinate("rank", ranks)]
    for name, value in values.items():
        variable = method.row.variable(name)
        made.append(piece(variable, (*at, *([tuple(ranks)] if "rank" in variable.dimensions else [])), value))
    return made
