"""Estimates and emergences as named variables, and back. Pure values, no input or output.

::

    mi_macro  mi_micro  ie       (block, position) in nats, NaN where not estimated; with _low, _high, _se
    ceiling_macro  ...           exact values of the listed rows; with _population
    outcome_macro  ...           codes with CF flag_values and flag_meanings, -1 where not estimated
    macro_<diagnostic>  ...      what the estimator's row in the table declares
    macro_decode_outcome  ...    decode: codes over (layer, position)
    macro_curve_nats  ...        noise: (layer, position, sigma); with _low, _high
    macro_token_nats  ...        noise: (layer, position, token_position), in `past_variables`
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ie_store.errors import StoreError
from ie_store.estimators import OF_EVERY_ESTIMATE, estimator_row
from ie_store.specs import Emergence, Level, MIEstimate, Outcome, Problem
from ie_store.variables import NOT_KNOWN_CODE, Flags, Piece, Variable, WholeArrays, piece

LEVELS: tuple[Level, Level] = ("macro", "micro")
Arrays = Mapping[str, NDArray[Any]]
_GRID = ("block", "position")
_OUTCOMES = tuple(outcome.value.replace(" ", "_") for outcome in Outcome)


@dataclass(frozen=True, kw_only=True)
class QuantityVariables:
    """The variables of one quantity with its interval, ceilings and outcome."""

    value: Variable
    low: Variable
    high: Variable
    error: Variable
    ceiling: Variable
    ceiling_population: Variable
    outcome: Variable


def _outcome(name: str, dimensions: tuple[str, ...], long_name: str, lineage: str) -> Variable:
    return Variable(
        name=name, dimensions=dimensions, long_name=long_name, dtype="int8", flag_meanings=_OUTCOMES, lineage=lineage
    )  # fmt: skip


def _quantity(value: str, suffix: str, meaning: str, ceiling_meaning: str, lineage: str) -> QuantityVariables:
    def nats(name: str, long_name: str) -> Variable:
        return Variable(name=name, dimensions=_GRID, long_name=long_name, units="nat", lineage=lineage)

    return QuantityVariables(
        value=nats(value, meaning),
        low=nats(f"{value}_low", f"{meaning}: lower end of the interval"),
        high=nats(f"{value}_high", f"{meaning}: upper end of the interval"),
        error=nats(f"{value}_se", f"{meaning}: standard error"),
        ceiling=nats(f"ceiling_{suffix}", ceiling_meaning),
        ceiling_population=nats(f"ceiling_{suffix}_population", f"{ceiling_meaning}: value of the population instead"),
        outcome=_outcome(f"outcome_{suffix}", _GRID, f"how the estimate of {value} ended", lineage),
    )


_OF_LEVEL: dict[Level, str] = {
    "macro": "state of the prefix that ends at position",
    "micro": "state of the lone token at position",
}
QUANTITIES: dict[Level, QuantityVariables] = {
    level: _quantity(
        f"mi_{level}",
        level,
        f"mutual information of neighbouring layers, {what}",
        f"exact mutual information of the listed rows, {level}",
        f"{level} states of layers block and block + 1",
    )
    for level, what in _OF_LEVEL.items()
}
IE = _quantity(
    "ie",
    "ie",
    "information emergence: mi_macro minus the mean of mi_micro over positions 0..position",
    "exact information emergence of the listed rows",
    "mi_macro and mi_micro",
)
DECODE_OUTCOME: dict[Level, Variable] = {
    level: _outcome(
        f"{level}_decode_outcome", ("layer", "position"), f"how the estimate of {level}_decode_nats ended", f"{level} states"
    )
    for level in LEVELS
}
"""Of each layer, the last one included, which no block reads."""
OUTCOME_NAMES = frozenset(
    variable.name for variable in (*(found.outcome for found in (*QUANTITIES.values(), IE)), *DECODE_OUTCOME.values())
)
"""Variables whose codes are those of `Outcome`."""
IE_MICRO = Variable(
    name="ie_micro", dimensions=_GRID, long_name="mean of mi_micro over positions 0..position", units="nat", lineage="mi_micro"
)  # fmt: skip


def _curve_variable(name: str, dimensions: tuple[str, ...], what: str, lineage: str) -> tuple[Variable, Variable]:
    low, high = (
        Variable(
            name=f"{name}_curve_{end}_nats", dimensions=dimensions, long_name=f"{what}, {side}", units="nat", lineage=lineage
        )
        for end, side in (("low", "lower end of the interval"), ("high", "upper end of the interval"))
    )
    return low, high


CURVES: dict[Level, tuple[Variable, Variable]] = {
    level: _curve_variable(
        level,
        ("layer", "position", "sigma"),
        f"information left under noise, {what}",
        f"{level} states of the layer",
    )
    for level, what in _OF_LEVEL.items()
}
CURVE_VALUES: dict[Level, Variable] = {
    level: Variable(
        name=f"{level}_curve_nats",
        dimensions=("layer", "position", "sigma"),
        long_name=f"information left under noise, {what}",
        units="nat",
        lineage=f"{level} states of the layer",
    )
    for level, what in _OF_LEVEL.items()
}
IE_CURVE = _curve_variable("ie", ("block", "position", "sigma"), "information emergence under noise", "macro and micro curves")


def of_level(level: Level, diagnostic: Variable) -> Variable:
    """A diagnostic's variable for macro or micro."""
    return replace(diagnostic, name=f"{level}_{diagnostic.name}", lineage=QUANTITIES[level].value.name)


def values_of(arrays: WholeArrays) -> dict[str, NDArray[Any]]:
    """The values alone, by name."""
    return {name: values for name, (_, values) in arrays.items()}


def estimate_pieces(estimates: Mapping[Problem, MIEstimate]) -> list[Piece]:
    """Pieces of all variables of ``estimates``: one for each variable and position, over blocks."""
    found: dict[tuple[Variable, int], dict[int, Any]] = {}
    for problem, estimate in estimates.items():
        for variable, value in _values_of(problem, estimate).items():
            found.setdefault((variable, problem.position), {})[problem.block] = value
    return [
        piece(variable, (tuple(values), (position,)), list(values.values())) for (variable, position), values in found.items()
    ]


def _values_of(problem: Problem, estimate: MIEstimate) -> dict[Variable, Any]:
    values = _values(QUANTITIES[problem.level], estimate.nats, estimate)
    for diagnostic in (*estimator_row(estimate.estimator).diagnostics, *OF_EVERY_ESTIMATE):
        if diagnostic.name in estimate.diagnostics:
            values[of_level(problem.level, diagnostic)] = estimate.diagnostics[diagnostic.name]
    return values


def _values(variables: QuantityVariables, nats: float, found: MIEstimate | Emergence) -> dict[Variable, Any]:
    return {
        variables.value: nats,
        variables.low: found.interval_nats[0],
        variables.high: found.interval_nats[1],
        variables.error: found.standard_error_nats,
        variables.ceiling: found.ceiling_nats,
        variables.ceiling_population: found.ceiling_population_nats,
        variables.outcome: outcome_code(found.outcome),
    }


def outcome_code(outcome: Outcome) -> int:
    """The code that stands for an outcome in a variable of codes."""
    return list(Outcome).index(outcome)


def emergence_pieces(emergences: Iterable[Emergence]) -> list[Piece]:
    """Pieces of all variables of ``emergences``."""
    made: list[Piece] = []
    for emergence in emergences:
        at = ((emergence.block,), (emergence.position,))
        values = _values(IE, emergence.ie_nats, emergence) | {IE_MICRO: emergence.micro_nats}
        made += [piece(variable, at, [value]) for variable, value in values.items()]
        if emergence.curve_nats:
            over_sigma = (*at, tuple(range(len(emergence.curve_nats))))
            made += [piece(IE_CURVE[end], over_sigma, [pair[end] for pair in emergence.curve_nats]) for end in (0, 1)]
    return made


def estimates_of(arrays: Arrays, flags: Flags, estimator: str) -> dict[Problem, MIEstimate]:
    """The estimates whose pieces ``arrays`` were put together from."""
    found: dict[Problem, MIEstimate] = {}
    for level in LEVELS:
        for block, position in _known_places(arrays, QUANTITIES[level]):
            problem = Problem(level=level, block=block, position=position)
            found[problem] = _estimate_at(arrays, problem, flags.get(f"{level}/{block}/{position}", ()), estimator)
    return found


def _known_places(arrays: Arrays, variables: QuantityVariables) -> list[list[int]]:
    codes = arrays.get(variables.outcome.name)
    if codes is None:
        return []
    if not bool(((codes >= NOT_KNOWN_CODE) & (codes < len(Outcome))).all()):
        raise StoreError(f"results array {variables.outcome.name} holds codes that stand for no outcome; estimate again")
    return np.argwhere(codes != NOT_KNOWN_CODE).tolist()


def _estimate_at(arrays: Arrays, problem: Problem, flags: tuple[str, ...], estimator: str) -> MIEstimate:
    at, names = (problem.block, problem.position), QUANTITIES[problem.level]
    diagnostics = {
        diagnostic.name: float(arrays[name][at])
        for diagnostic in (*estimator_row(estimator).diagnostics, *OF_EVERY_ESTIMATE)
        if (name := of_level(problem.level, diagnostic).name) in arrays
    }
    return MIEstimate(
        estimator=estimator,
        nats=float(arrays[names.value.name][at]),
        interval_nats=(float(arrays[names.low.name][at]), float(arrays[names.high.name][at])),
        standard_error_nats=float(arrays[names.error.name][at]),
        ceiling_nats=_known(arrays[names.ceiling.name][at]),
        ceiling_population_nats=_known(arrays[names.ceiling_population.name][at]),
        outcome=list(Outcome)[int(arrays[names.outcome.name][at])],
        flags=tuple(flags),
        diagnostics=diagnostics,
    )


def emergences_of(arrays: Arrays, flags: Flags, estimator: str) -> list[Emergence]:
    """The emergences whose pieces ``arrays`` were put together from, by block, then position."""
    return [_emergence_at(arrays, block, position, flags, estimator) for block, position in _known_places(arrays, IE)]


def _emergence_at(arrays: Arrays, block: int, position: int, flags: Flags, estimator: str) -> Emergence:
    at = (block, position)
    curve = [arrays[end.name][at].tolist() for end in IE_CURVE if end.name in arrays]
    return Emergence(
        estimator=estimator,
        block=block,
        position=position,
        ie_nats=float(arrays[IE.value.name][at]),
        interval_nats=(float(arrays[IE.low.name][at]), float(arrays[IE.high.name][at])),
        macro_nats=float(arrays[QUANTITIES["macro"].value.name][at]),
        micro_nats=float(arrays[IE_MICRO.name][at]),
        ceiling_nats=float(arrays[IE.ceiling.name][at]),
        ceiling_population_nats=_known(arrays[IE.ceiling_population.name][at]),
        outcome=list(Outcome)[int(arrays[IE.outcome.name][at])],
        standard_error_nats=float(arrays[IE.error.name][at]),
        flags=tuple(flags.get(f"ie/{block}/{position}", ())),
        curve_nats=tuple(zip(*curve, strict=True)) if curve else (),
    )


def _known(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
