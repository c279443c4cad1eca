"""Neighbours of a layer's rows: intrinsic dimension over scales, and how far a layer and the one before it agree on them.

Rows are distinct prefixes (layer 0: tokens), each once, however often it is listed. Of more than the options' ``rows`` a
seeded draw is looked at, the same in all layers.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ie_store.estimate.profiles.intrinsic_dimension import Dimension, gride, log_ratios, two_nn
from ie_store.estimate.profiles.layer_states import Described, LayerStates
from ie_store.estimate.profiles.nearest import DIFFERENCES_AT_ONCE, ROWS_AT_ONCE, Nearest, nearest, ranks_of
from ie_store.profile_options import NeighboursOptions
from ie_store.profiles import ProfileMethod
from ie_store.variables import Piece, coordinate, piece

FEWEST_ROWS = 1000
"""Below it nothing is said of dimensions, nor of neighbouring layers."""
SUBSAMPLES = 5
Values = dict[str, object]


def scales(options: NeighboursOptions) -> tuple[int, ...]:
    """k of the pairs of neighbours k and 2k: 1, 2, 4, ..."""
    return tuple(2**power for power in range(options.largest_rank.bit_length() - 1))


def needs(method: ProfileMethod, num_rows: int, hidden_size: int) -> int:
    """Bytes: the rows looked at of two layers, in float32 and centred in float64, bounds of some to all, and what is found."""
    options: NeighboursOptions = method.options
    looked_at = min(num_rows, options.rows)
    bounds, found = 3 * 8 * ROWS_AT_ONCE, 4 * 16 * max(options.largest_rank, options.overlap_rank)
    return looked_at * (20 * hidden_size + bounds + found) + 2 * 8 * DIFFERENCES_AT_ONCE + 64 * num_rows


def measure(method: ProfileMethod, states: LayerStates) -> Described:
    """The neighbours in the layer that ``states`` stands at, and in the layer before it where that is stored."""
    options: NeighboursOptions = method.options
    rows = _sample(states, states.layer, options)
    if len(rows) < 2:
        described = _pieces(method, states, {"num_rows": len(rows)}, {})
        return Described(pieces=described, flags=("all rows of the layer stand for one prefix or token: it has no neighbours",))
    found = _nearest_in(states, states.layer, options)
    values = _distances(found)
    flags = []
    if equal := values["num_equal"]:
        flags.append(
            f"{equal:,} of {len(rows):,} rows share their stored state with another: their distances of 0 say nothing of "
            "dimension and are left out; store a wider --dtype"
        )
    between: Values = {}
    if len(rows) < FEWEST_ROWS:
        flags.append(f"{len(rows):,} distinct rows are fewer than {FEWEST_ROWS:,}: no dimension and no comparison of layers")
    else:
        values |= _dimensions(rows, found, options)
        between, reason = _between(states, rows, found, options)
        flags += [reason] if reason else []
    return Described(pieces=_pieces(method, states, values, between), flags=tuple(flags))


def _drawn(num_outcomes: int, options: NeighboursOptions, position: int) -> NDArray[np.int64]:
    """Outcomes that are looked at, rising."""
    if num_outcomes <= options.rows:
        return np.arange(num_outcomes)
    return np.sort(np.random.default_rng([options.seed, position]).choice(num_outcomes, options.rows, replace=False))


def _sample(states: LayerStates, layer: int, options: NeighboursOptions) -> Tensor:
    drawn = _drawn(len(states.distinct(layer).counts), options, states.position)
    rows = states.rows(layer)
    return rows.take(torch.from_numpy(drawn).to(rows.device))


def _nearest_in(states: LayerStates, layer: int, options: NeighboursOptions) -> Nearest:
    num = max(options.largest_rank, options.overlap_rank)
    return states.kept(f"nearest {options}", layer, lambda: nearest(_sample(states, layer, options), num))


def _distances(found: Nearest) -> Values:
    first = found.distances[:, 0]
    return {
        "num_rows": len(first),
        "num_equal": int((first == 0).sum()),
        "smallest_distance": first.min(),
        "median_distance": np.median(first),
    }


def _dimensions(rows: Tensor, found: Nearest, options: NeighboursOptions) -> Values:
    """Both dimensions of all rows, with the spread of disjoint subsamples."""
    order = np.random.default_rng([options.seed, len(rows)]).permutation(len(rows))
    parts = [
        nearest(rows[torch.from_numpy(np.sort(part)).to(rows.device)], options.largest_rank)
        for part in np.array_split(order, SUBSAMPLES)
    ]
    whole = _dimension_values("two_nn", [_two_nn(found, options)], [[_two_nn(part, options) for part in parts]])
    by_scale = [[_gride(one, k) for k in scales(options)] for one in (found, *parts)]
    whole |= _dimension_values("gride", by_scale[0], [list(group) for group in zip(*by_scale[1:], strict=True)])
    whole["scale_distance"] = [found.distances[:, [k - 1, 2 * k - 1]].mean() for k in scales(options)]
    return whole


def _two_nn(found: Nearest, options: NeighboursOptions) -> Dimension:
    return two_nn(log_ratios(found.distances[:, 0], found.distances[:, 1]), options.discarded)


def _gride(found: Nearest, k: int) -> Dimension:
    return gride(log_ratios(found.distances[:, k - 1], found.distances[:, 2 * k - 1]), k)


def _dimension_values(name: str, found: list[Dimension], parts: list[list[Dimension]]) -> Values:
    """Values by variable: of each of ``found``, and of the subsamples that belong to it."""
    spread = np.array([[part.value for part in group] for group in parts])
    return {
        name: [one.value for one in found],
        f"{name}_low": [one.low for one in found],
        f"{name}_high": [one.high for one in found],
        f"{name}_subsample_mean": spread.mean(axis=1),
        f"{name}_subsample_sd": spread.std(axis=1, ddof=1),
    }


def _between(states: LayerStates, rows: Tensor, found: Nearest, options: NeighboursOptions) -> tuple[Values, str]:
    """Overlap and imbalance with the layer before, or why there are none."""
    layer = states.layer
    if not states.has_layer_before:
        return {}, ""
    if not np.array_equal(states.distinct(layer).of_sequence, states.distinct(layer - 1).of_sequence):
        return {}, f"layer {layer - 1} tells tokens apart and layer {layer} prefixes: their neighbours are not compared"
    before = _nearest_in(states, layer - 1, options)
    rows_before = _sample(states, layer - 1, options)
    return {
        "overlap": overlap(before, found, options.overlap_rank),
        "imbalance_forward": imbalance(rows, found, before),
        "imbalance_backward": imbalance(rows_before, before, found),
    }, ""


def overlap(one: Nearest, other: Nearest, num: int) -> float:
    """Mean share of the ``num`` nearest rows that are the same in both."""
    shared = np.zeros(len(one.indices))
    for rank in range(num):
        shared += (one.indices[:, rank, None] == other.indices[:, :num]).any(axis=1)
    return float(shared.mean() / num)


def imbalance(rows: Tensor, found: Nearest, of: Nearest) -> float:
    """Information imbalance (Glielmo et al. 2022, eq. 1) to the distances of ``rows`` from those that ``of`` was found in.

    2/N times the mean rank here of the nearest row there: 2/N where all agree, near 1 where there tells nothing of here.
    """
    return float(2 * ranks_of(rows, found, of.indices[:, 0]).mean() / len(rows))


def _pieces(method: ProfileMethod, states: LayerStates, values: Values, between: Values) -> tuple[Piece, ...]:
    at_scales = tuple(range(len(scales(method.options))))
    made = [coordinate("scale", scales(method.options))]
    for index, found in ((states.layer, values), (states.layer - 1, between)):
        for name, value in found.items():
            variable = method.row.variable(name)
            at = ((index,), (states.position,), *([at_scales] if "scale" in variable.dimensions else []))
            made.append(piece(variable, at, value))
    return tuple(made)
