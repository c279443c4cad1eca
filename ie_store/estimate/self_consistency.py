"""What an estimator of mutual information must satisfy, whatever the truth is. Each check measures again, on changed rows.

Shuffled pairs carry nothing (permutation null); more rows, or another seed, must not change the value; processing must
not add information and a copy must not either; independent halves add up (the last three: Song and Ermon 2020,
section 4).

What a check found is said as a share of what is tolerated, which has no unit; its values stand beside it, in nats.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import hypot, log

import numpy as np
from numpy.typing import NDArray

from ie_store.estimate.critics.bounds import SATURATED_SHARE
from ie_store.estimate.critics.folds import FEWEST_SEQUENCES
from ie_store.options import SEEDS_OF_A_CHECK
from ie_store.specs import MIEstimate

Rows = NDArray[np.float32]
Measure = Callable[[Rows, Rows, int], MIEstimate]
"""Estimate from x and y (row, dimension) under a seed."""

NULL_NATS = 0.05
TOLERATED_SHARE = 0.05
FEWEST_ROWS = 100


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a check found."""

    check: str
    passed: bool | None
    """None where the check does not apply."""
    detail: str
    """For people; holds no number that depends on the unit of information."""
    numbers: dict[str, float] = field(default_factory=dict)
    """Values that were compared, in nats, and the p-value."""


def _value(estimate: MIEstimate) -> float:
    """The value before it was cut off at 0."""
    return float(estimate.diagnostics.get("raw_nats", estimate.nats))


def _tolerance(*estimates: MIEstimate) -> float:
    """How far values may differ that ought to be equal: two standard errors, and a share of the largest value."""
    errors = 2 * hypot(*(estimate.standard_error_nats for estimate in estimates))
    return errors + max(NULL_NATS, TOLERATED_SHARE * max(abs(_value(estimate)) for estimate in estimates))


def _of(difference: float, tolerance: float) -> str:
    return f"{abs(difference) / tolerance:.0%} of the tolerance"


def permutation_null(base: MIEstimate, shuffled: list[MIEstimate]) -> Answer:
    """Estimates of the same budget from shuffled pairs must lie around 0; the p-value is that of ``base`` among them."""
    values = np.array([_value(estimate) for estimate in shuffled])
    mean, spread = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    p_value = (1 + int(np.sum(values >= _value(base)))) / (1 + len(values))
    tolerance = NULL_NATS + 2 * spread / len(values) ** 0.5
    return Answer(
        check="permutation null",
        passed=abs(mean) <= tolerance,
        detail=f"{len(values)} shuffles lie {_of(mean, tolerance)} away from 0 on average; p = {p_value:.2g}",
        numbers={"null_mean_nats": mean, "null_max_nats": float(values.max()), "p_value": p_value},
    )


def learning_curve(base: MIEstimate, measure: Measure, x: Rows, y: Rows, seed: int) -> Answer:
    """Twice the rows must not change the value much: a value that still grows says 'at least'."""
    sizes = [size for size in (len(x) // 4, len(x) // 2) if size >= FEWEST_ROWS]
    estimates = [measure(x[:size], y[:size], seed) for size in sizes]
    values = [_value(estimate) for estimate in (*estimates, base)]
    numbers = {f"rows_{size}_nats": value for size, value in zip((*sizes, len(x)), values, strict=True)}
    if not sizes:
        detail = f"{len(x):,} rows are too few to be halved; it takes {2 * FEWEST_ROWS}"
        return Answer(check="learning curve", passed=None, detail=detail, numbers=numbers)
    rise, tolerance = values[-1] - values[-2], _tolerance(base, estimates[-1])
    return Answer(
        check="learning curve",
        passed=abs(rise) <= tolerance,
        detail=f"from {sizes[-1]:,} to {len(x):,} rows the value changes by {_of(rise, tolerance)}; a steady rise is saturation",
        numbers=numbers,
    )


def seeds(base: MIEstimate, measure: Measure, x: Rows, y: Rows, seed: int) -> Answer:
    """Other seeds of split, critic and mini-batches must give the same."""
    values = [_value(base)] + [_value(measure(x, y, seed + number)) for number in range(1, SEEDS_OF_A_CHECK)]
    spread, tolerance = max(values) - min(values), _tolerance(base)
    return Answer(
        check="seeds",
        passed=spread <= tolerance,
        detail=f"{len(values)} seeds differ by {_of(spread, tolerance)}",
        numbers={"spread_nats": spread, "least_nats": min(values), "most_nats": max(values)},
    )


def data_processing(base: MIEstimate, measure: Measure, x: Rows, y: Rows, seed: int) -> Answer:
    """Half the dimensions of y must not tell more than all of them, and y twice as much as y once."""
    half, twice = measure(x, np.ascontiguousarray(y[:, ::2]), seed), measure(x, np.concatenate([y, y], axis=1), seed)
    more = _value(half) - _value(base)
    other = abs(_value(twice) - _value(base))
    for_half, for_twice = _tolerance(base, half), _tolerance(base, twice)
    said = f"more than y by {_of(more, for_half)}" if more > 0 else "no more than y"
    return Answer(
        check="data processing",
        passed=more <= for_half and other <= for_twice,
        detail=f"half of y tells {said}; y twice differs from y once by {_of(other, for_twice)}",
        numbers={"once_nats": _value(base), "half_nats": _value(half), "twice_nats": _value(twice)},
    )


def additivity(measure: Measure, x: Rows, y: Rows, seed: int) -> Answer:
    """Two independent sets of pairs, side by side, must tell what both tell together."""
    size = len(x) // 2
    if size < FEWEST_SEQUENCES:
        detail = f"halves of {len(x):,} rows are too few to estimate from: at least {FEWEST_SEQUENCES}"
        return Answer(check="additivity", passed=None, detail=detail, numbers={})
    parts = [measure(x[start : start + size], y[start : start + size], seed) for start in (0, size)]
    expected = sum(_value(part) for part in parts)
    found = parts[0].diagnostics
    resolution = max(2, int(found.get("num_references", found.get("num_test", size))))
    if expected > SATURATED_SHARE * log(resolution):
        share = expected / log(resolution)
        detail = f"the halves together come to {share:.0%} of ln({resolution:,} test rows), the most they can show"
        return Answer(check="additivity", passed=None, detail=detail, numbers={"sum_nats": expected})
    sides = [np.concatenate([rows[:size], rows[size : 2 * size]], axis=1) for rows in (x, y)]
    both = measure(sides[0], sides[1], seed)
    difference, tolerance = _value(both) - expected, _tolerance(both, *parts)
    return Answer(
        check="additivity",
        passed=abs(difference) <= tolerance,
        detail=f"side by side and one by one the halves differ by {_of(difference, tolerance)}",
        numbers={"sum_nats": expected, "joint_nats": _value(both)},
    )
