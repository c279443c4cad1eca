"""Estimates as named arrays over the whole grid, and back. Pure values, no input or output.

::

    mi_macro  mi_micro  ie       (block, position) in nats, NaN where not estimated; with _low, _high, _se
    ceiling_macro  ...           exact values of the listed rows; with _population
    outcome_macro  ...           codes with CF flag_values and flag_meanings, -1 where not estimated
    macro_<diagnostic>  ...      every number that an estimate carries besides
    macro_curve_low_nats  ...    noise: (layer, position, sigma)

The grid is always that of the whole model and corpus: a partial coordinate would not align with the parent dataset.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import StoreError
from ie_store.specs import Emergence, EstimatorName, Level, MIEstimate, Outcome, Problem
from ie_store.store.layout import ArrayTemplate

LEVELS: tuple[Level, Level] = ("macro", "micro")
NOT_ESTIMATED = -1
_MEANINGS = " ".join(["not_estimated", *(outcome.value.replace(" ", "_") for outcome in Outcome)])
_GRID = ("block", "position")
_MEND = "remove the folder of these results and estimate again"
_SERIES = ("layer", "position", "sigma")

Arrays = dict[str, NDArray[Any]]


def dimensions_of(name: str) -> tuple[str, ...]:
    """Dimensions of a result array, from its name."""
    if name in ("block", "position", "layer", "sigma"):
        return (name,)
    if "_curve_" in name:
        return ("block", *_SERIES[1:]) if name.startswith("ie") else _SERIES
    return _GRID


def grid_sizes(num_blocks: int, num_positions: int, num_sigmas: int) -> dict[str, int]:
    """Length of each dimension."""
    return {"block": num_blocks, "position": num_positions, "layer": num_blocks + 1, "sigma": num_sigmas}


def shape_of(name: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Shape of a result array, from its name."""
    return tuple(sizes[dimension] for dimension in dimensions_of(name))


def _dtype_of(name: str) -> np.dtype[Any]:
    if name.startswith("outcome_"):
        return np.dtype(np.int8)
    return np.dtype(np.int64 if name in ("block", "position", "layer") else np.float64)


def _require_values(arrays: Arrays) -> None:
    """Raise `StoreError` where a number cannot be what its array is of."""
    for name, values in arrays.items():
        if values.dtype != _dtype_of(name):
            raise StoreError(f"results array {name} holds {values.dtype}, {_dtype_of(name)} is expected; {_MEND}")
        if name.startswith("outcome_") and not bool(((values >= NOT_ESTIMATED) & (values < len(Outcome))).all()):
            raise StoreError(f"results array {name} holds codes outside {NOT_ESTIMATED}..{len(Outcome) - 1}; {_MEND}")


def template_of(name: str, values: NDArray[Any]) -> ArrayTemplate:
    """Template of a result array: one file, units and meaning in its attributes."""
    attributes: dict[str, Any] = {"long_name": _long_name(name)}
    if name.startswith("outcome_"):
        attributes |= {"flag_values": list(range(NOT_ESTIMATED, len(Outcome))), "flag_meanings": _MEANINGS}
    elif name.endswith("_seconds"):
        attributes["units"] = "s"
    elif name.startswith(("mi_", "ie", "ceiling_")) or name.endswith("_nats"):
        attributes["units"] = "nat"
    return ArrayTemplate(
        name=name,
        shape=values.shape,
        chunk_shape=values.shape,
        data_type=values.dtype.name,
        fill_value="NaN" if values.dtype.kind == "f" else NOT_ESTIMATED,
        dimensions=dimensions_of(name),
        attributes=attributes,
    )


_LONG_NAMES = {
    "mi_macro": "mutual information of neighbouring layers, state of the prefix that ends at position",
    "mi_micro": "mutual information of neighbouring layers, state of the lone token at position",
    "ie": "information emergence: mi_macro minus the mean of mi_micro over positions 0..position",
    "ie_micro": "mean of mi_micro over positions 0..position",
    "ceiling_macro": "exact mutual information of the listed rows, macro",
    "ceiling_micro": "exact mutual information of the listed rows, micro",
    "ceiling_ie": "exact information emergence of the listed rows",
    "block": "the step from layer block to layer block + 1",
    "position": "index of a token in its sequence",
    "layer": "0 enters block 0; l is the output of block l-1",
    "sigma": "noise level in units of its scale",
}
_ENDINGS = {
    "_low": "lower end of the interval",
    "_high": "upper end of the interval",
    "_se": "standard error",
    "_population": "value of the population instead of the listed rows",
}


def _long_name(name: str) -> str:
    for ending, meaning in _ENDINGS.items():
        if name.removesuffix(ending) in _LONG_NAMES and name.endswith(ending):
            return f"{_LONG_NAMES[name.removesuffix(ending)]}: {meaning}"
    return _LONG_NAMES.get(name, name.replace("_", " "))


class _Grid:
    """Arrays that come into being, filled, when their first value is set."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.arrays: Arrays = {}

    def set(self, name: str, index: tuple[int, ...], value: Any) -> None:
        if name not in self.arrays:
            empty = NOT_ESTIMATED if name.startswith("outcome_") else np.nan
            self.arrays[name] = np.full(shape_of(name, self.sizes), empty, dtype=_dtype_of(name))
        self.arrays[name][index] = np.nan if value is None else value


def arrays_of(
    estimates: Mapping[Problem, MIEstimate], emergences: Iterable[Emergence], num_blocks: int, num_positions: int
) -> Arrays:
    """All arrays of a results group, its coordinates included."""
    sigmas = next((estimate.diagnostics["curve_sigmas"] for estimate in estimates.values() if _has_curve(estimate)), ())
    grid = _Grid(grid_sizes(num_blocks, num_positions, len(sigmas)))
    for problem, estimate in estimates.items():
        _set_estimate(grid, problem, estimate)
    for emergence in emergences:
        _set_emergence(grid, emergence)
    coordinates: Arrays = {"block": np.arange(num_blocks), "position": np.arange(num_positions)}
    if sigmas:
        coordinates |= {"layer": np.arange(num_blocks + 1), "sigma": np.array(sigmas)}
    return coordinates | grid.arrays


def _has_curve(estimate: MIEstimate) -> bool:
    return "curve_sigmas" in estimate.diagnostics


def _set_estimate(grid: _Grid, problem: Problem, estimate: MIEstimate) -> None:
    level, at = problem.level, (problem.block, problem.position)
    grid.set(f"mi_{level}", at, estimate.nats)
    grid.set(f"mi_{level}_low", at, estimate.interval_nats[0])
    grid.set(f"mi_{level}_high", at, estimate.interval_nats[1])
    grid.set(f"mi_{level}_se", at, estimate.standard_error_nats)
    grid.set(f"ceiling_{level}", at, estimate.ceiling_nats)
    grid.set(f"ceiling_{level}_population", at, estimate.ceiling_population_nats)
    grid.set(f"outcome_{level}", at, list(Outcome).index(estimate.outcome))
    for name, value in estimate.diagnostics.items():
        if value is None or isinstance(value, bool | int | float | np.number):
            grid.set(f"{level}_{name}", at, value)
    for end in ("low_nats", "high_nats") if _has_curve(estimate) else ():
        grid.set(f"{level}_curve_{end}", at, estimate.diagnostics[f"curve_{end}"])
        if f"output_curve_{end}" in estimate.diagnostics:
            grid.set(f"{level}_curve_{end}", (problem.block + 1, problem.position), estimate.diagnostics[f"output_curve_{end}"])


def _set_emergence(grid: _Grid, emergence: Emergence) -> None:
    at = (emergence.block, emergence.position)
    grid.set("ie", at, emergence.ie_nats)
    grid.set("ie_low", at, emergence.interval_nats[0])
    grid.set("ie_high", at, emergence.interval_nats[1])
    grid.set("ie_se", at, emergence.standard_error_nats)
    grid.set("ie_micro", at, emergence.micro_nats)
    grid.set("ceiling_ie", at, emergence.ceiling_nats)
    grid.set("ceiling_ie_population", at, emergence.ceiling_population_nats)
    grid.set("outcome_ie", at, list(Outcome).index(emergence.outcome))
    if emergence.curve_nats:
        grid.set("ie_curve_low_nats", at, [low for low, _ in emergence.curve_nats])
        grid.set("ie_curve_high_nats", at, [high for _, high in emergence.curve_nats])


Flags = dict[str, tuple[str, ...]]


def flags_of(estimates: Mapping[Problem, MIEstimate], emergences: Iterable[Emergence]) -> Flags:
    """Flags by ``level/block/position`` (level ``ie`` for emergences), where there are any."""
    flags = {f"{p.level}/{p.block}/{p.position}": estimate.flags for p, estimate in estimates.items()}
    flags |= {f"ie/{emergence.block}/{emergence.position}": emergence.flags for emergence in emergences}
    return {key: found for key, found in flags.items() if found}


def estimates_of(arrays: Arrays, flags: Flags, estimator: EstimatorName) -> dict[Problem, MIEstimate]:
    """The estimates that `arrays_of` and `flags_of` were made from.

    Raises:
        StoreError: numbers that cannot be what they stand for.
        KeyError: an array is missing.
    """
    _require_values(arrays)
    found: dict[Problem, MIEstimate] = {}
    for level in LEVELS:
        codes = arrays.get(f"outcome_{level}", np.empty((0, 0)))
        for block, position in np.argwhere(codes != NOT_ESTIMATED).tolist():
            problem = Problem(level=level, block=block, position=position)
            found[problem] = _estimate_at(arrays, problem, tuple(flags.get(f"{level}/{block}/{position}", ())), estimator)
    return found


def _estimate_at(arrays: Arrays, problem: Problem, flags: tuple[str, ...], estimator: EstimatorName) -> MIEstimate:
    level, at = problem.level, (problem.block, problem.position)
    return MIEstimate(
        estimator=estimator,
        nats=float(arrays[f"mi_{level}"][at]),
        interval_nats=(float(arrays[f"mi_{level}_low"][at]), float(arrays[f"mi_{level}_high"][at])),
        standard_error_nats=float(arrays[f"mi_{level}_se"][at]),
        ceiling_nats=_known(arrays[f"ceiling_{level}"][at]),
        ceiling_population_nats=_known(arrays[f"ceiling_{level}_population"][at]),
        outcome=list(Outcome)[int(arrays[f"outcome_{level}"][at])],
        flags=flags,
        diagnostics=_diagnostics_at(arrays, problem),
    )


def _diagnostics_at(arrays: Arrays, problem: Problem) -> dict[str, Any]:
    start, at = f"{problem.level}_", (problem.block, problem.position)
    found: dict[str, Any] = {}
    for name, values in arrays.items():
        if not name.startswith(start):
            continue
        found[name.removeprefix(start)] = tuple(values[at].tolist()) if "_curve_" in name else float(values[at])
        if "_curve_" in name and problem.block == len(values) - 2 and np.isfinite(values[-1, problem.position]).all():
            found["output_" + name.removeprefix(start)] = tuple(values[-1, problem.position].tolist())
    if "sigma" in arrays:
        found["curve_sigmas"] = tuple(arrays["sigma"].tolist())
    return found


def emergences_of(arrays: Arrays, flags: Flags, estimator: EstimatorName) -> list[Emergence]:
    """The emergences that `arrays_of` and `flags_of` were made from, by block, then position."""
    codes = arrays.get("outcome_ie", np.empty((0, 0)))
    if codes.size and bool(((codes != NOT_ESTIMATED) & (arrays["outcome_macro"] == NOT_ESTIMATED)).any()):
        raise StoreError(f"results array outcome_ie says that emergences are there whose estimates are not; {_MEND}")
    return [
        Emergence(
            estimator=estimator,
            block=block,
            position=position,
            ie_nats=float(arrays["ie"][block, position]),
            interval_nats=(float(arrays["ie_low"][block, position]), float(arrays["ie_high"][block, position])),
            macro_nats=float(arrays["mi_macro"][block, position]),
            micro_nats=float(arrays["ie_micro"][block, position]),
            ceiling_nats=float(arrays["ceiling_ie"][block, position]),
            ceiling_population_nats=_known(arrays["ceiling_ie_population"][block, position]),
            outcome=list(Outcome)[int(codes[block, position])],
            standard_error_nats=float(arrays["ie_se"][block, position]),
            flags=tuple(flags.get(f"ie/{block}/{position}", ())),
            curve_nats=_curve_at(arrays, block, position),
        )
        for block, position in np.argwhere(codes != NOT_ESTIMATED).tolist()
    ]


def _curve_at(arrays: Arrays, block: int, position: int) -> tuple[tuple[float, float], ...]:
    if "ie_curve_low_nats" not in arrays:
        return ()
    low, high = arrays["ie_curve_low_nats"][block, position], arrays["ie_curve_high_nats"][block, position]
    return tuple(zip(low.tolist(), high.tolist(), strict=True))


def _known(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
