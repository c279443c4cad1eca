"""The table of estimators: one row each, with its options, what is true of it, and where its function stands.

Imports `errors` and `fields` alone; functions are named here and loaded when they are used. Command-line options and
their help, the identity of results, `check`, `mutual_information`, the schemas and the documentation follow from this
table. A new estimator is a file in ``estimate/estimators/`` and a row here.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import import_module
from typing import Any, Generic, Literal, TypeVar, cast

from ie_store.errors import InputError
from ie_store.fields import described, require_at_least, require_choice, require_known, suggestion

Options = TypeVar("Options")
Guarantee = Literal["exact", "certified", "lower bound", "none"]
_ROOM = "ie_store.estimate.estimators"


@dataclass(frozen=True, kw_only=True)
class ExactOptions:
    """Counting has no options."""


@dataclass(frozen=True, kw_only=True)
class CrossFitOptions:
    """What is fitted on some sequences and tested on others."""

    seed: int = described(0, "seed of the split, of the initial critic and of every draw")
    folds: int = described(2, "cross-fitting folds: each test row is tested once per seed")
    seeds: int = described(1, "repeats of the whole with seeds seed, seed+1, ...")

    def __post_init__(self) -> None:
        for name in ("folds", "seeds"):
            require_at_least(name, getattr(self, name), 1)


@dataclass(frozen=True, kw_only=True)
class TrainedOptions(CrossFitOptions):
    """A critic trained on mini-batches."""

    steps: int = described(2000, "most optimiser steps of one training")
    batch_size: int = described(512, "rows in a mini-batch")
    learning_rate: float = described(3e-3, "peak learning rate")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("steps", self.steps, 1)
        require_at_least("batch_size", self.batch_size, 2)
        if not 0 < self.learning_rate < 1:
            raise InputError(f"learning_rate is {self.learning_rate}; it must lie between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class NoiseOptions:
    """Gaussian noise of several sizes."""

    sigmas: tuple[float, ...] = described((0.5, 1.0, 2.0, 4.0, 8.0, 16.0), "the curve's noise levels, in units of its scale")
    sigma: float = described(4.0, "the level whose value is shown as the estimate; one of the sigmas")
    scale: Literal["std", "rms"] = described("std", "scale of the noise, each dimension's standard deviation or the overall rms")
    outer_rows: int = described(0, "rows whose distances to all others are taken; 0 means all of them")
    seed: int = described(0, "seed of the draw of outer rows")

    def __post_init__(self) -> None:
        require_choice("scale", self.scale, Literal["std", "rms"])
        require_at_least("outer_rows", self.outer_rows, 0)
        if not self.sigmas or min(self.sigmas) <= 0 or list(self.sigmas) != sorted(set(self.sigmas)):
            raise InputError(f"sigmas are {self.sigmas}; give positive noise levels in rising order")
        if self.outer_rows == 1:
            raise InputError("outer_rows is 1, which gives no error bar; use 0 for all rows, or at least 2")
        if self.sigma not in self.sigmas:
            raise InputError(f"sigma {self.sigma} is not one of the curve's sigmas {self.sigmas}")


@dataclass(frozen=True, kw_only=True)
class PaperOptions:
    """The published procedure."""

    seed: int = described(0, "seed of the initial critic and of the permutations")
    seeds: int = described(1, "repeats of the whole with seeds seed, seed+1, ...")
    segment_size: int = described(0, "columns per segment, reported one by one; 0 means no cutting")

    def __post_init__(self) -> None:
        require_at_least("seeds", self.seeds, 1)
        require_at_least("segment_size", self.segment_size, 0)


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """One row of the table."""

    name: str
    version: int
    """Part of the identity of results; it rises when values change under the same options."""
    summary: str
    """What its value is, for people."""
    options: type[Any]
    guarantee: Guarantee
    """What its value is to the truth in the mean, unless its outcome says otherwise."""
    trained: bool
    """Fitted on some sequences and tested on others, so that it needs enough of them."""
    needs_states: bool
    """False where tokens alone give the value."""
    run_fold: str | None = None
    """``module:function`` that fits and tests one fold, of what is cross-fitted: `RunFold` in ``estimators/cross_fit.py``."""
    measure: str = f"{_ROOM}.cross_fit:measure"
    """``module:function`` that estimates problems of one shape from their states: `Measure` in ``estimate/measure.py``."""
    measure_arrays: str | None = f"{_ROOM}.cross_fit:of_arrays"
    """``module:function`` that estimates from anyone's rows: `MeasureArrays` in ``estimate/arrays.py``; None: it cannot."""
    require_consent: str | None = None
    """``module:function`` that refuses a run predicted to be long, unless the user said yes."""
    belief: str | None = None
    """What `check` says where nothing is to be tested."""


def _critic(name: str, summary: str, guarantee: Guarantee) -> Estimator:
    return Estimator(
        name=name,
        version=1,
        summary=summary,
        options=TrainedOptions,
        guarantee=guarantee,
        trained=True,
        needs_states=True,
        run_fold=f"{_ROOM}.trained:{name}",
    )


ESTIMATORS: tuple[Estimator, ...] = (
    Estimator(
        name="exact",
        version=1,
        summary="the Shannon value of the rows as listed, counted from their tokens; always computed",
        options=ExactOptions,
        guarantee="exact",
        trained=False,
        needs_states=False,
        measure=f"{_ROOM}.exact:measure",
        measure_arrays=f"{_ROOM}.exact:of_arrays",
        belief="counted from the tokens, not estimated; it holds where no shared states are flagged",
    ),
    _critic("mine", "a Donsker-Varadhan critic, read on test rows in a form that stays a lower bound", "lower bound"),
    _critic("infonce", "a contrastive critic, at most ln(test rows)", "lower bound"),
    _critic("nwj", "the bound of Nguyen, Wainwright and Jordan", "lower bound"),
    _critic("smile", "a Donsker-Varadhan value with clipped scores: less variance, and no bound", "none"),
    _critic("js", "a critic trained on the Jensen-Shannon bound, read as mine is", "lower bound"),
    Estimator(
        name="cca",
        version=1,
        summary="the Gaussian value by canonical correlations: exact for Gaussians, far too much for hidden states",
        options=CrossFitOptions,
        guarantee="lower bound",
        trained=True,
        needs_states=True,
        run_fold=f"{_ROOM}.cca:run_fold",
    ),
    Estimator(
        name="noise",
        version=1,
        summary="what is left of the information in a block's input under Gaussian noise, between two proven bounds",
        options=NoiseOptions,
        guarantee="certified",
        trained=False,
        needs_states=True,
        measure=f"{_ROOM}.noise:measure",
        measure_arrays=f"{_ROOM}.noise:of_arrays",
        belief="two proven bounds, computed without training: nothing to check but their distance",
    ),
    Estimator(
        name="mine-paper",
        version=1,
        summary="the published procedure: a maximum over training, for comparison with published figures only",
        options=PaperOptions,
        guarantee="none",
        trained=True,
        needs_states=True,
        measure=f"{_ROOM}.mine_paper:measure",
        measure_arrays=f"{_ROOM}.mine_paper:of_arrays",
        require_consent=f"{_ROOM}.mine_paper_cost:require_consent",
        belief="the maximum over training, on its own training rows, is no bound whatever the checks say",
    ),
)
"""Every estimator, in the order in which they are shown."""
NAMES: tuple[str, ...] = tuple(row.name for row in ESTIMATORS)
EXACT, DEFAULT = "exact", "mine"
if len(set(NAMES)) != len(NAMES) or not {EXACT, DEFAULT} <= set(NAMES):
    raise ValueError(f"every estimator has one row, and {EXACT} and {DEFAULT} are among them; the table has {NAMES}")


def estimator_row(name: str) -> Estimator:
    """The row called ``name``.

    Raises:
        InputError: there is none.
    """
    require_known("estimator", name, NAMES)
    return ESTIMATORS[NAMES.index(name)]


@cache
def resolve(place: str) -> Callable[..., Any]:
    """The function at ``module:function``."""
    module, _, function = place.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


@dataclass(frozen=True, kw_only=True)
class EstimatorSpec(Generic[Options]):
    """An estimator and everything that changes its result; `estimator_spec` makes it."""

    name: str
    options: Options
    """Of the class that the estimator's row names."""

    def __post_init__(self) -> None:
        wanted = self.row.options
        if type(self.options) is not wanted:
            raise InputError(f"estimator {self.name} takes {wanted.__name__}, not {type(self.options).__name__}")

    @property
    def row(self) -> Estimator:
        """What is true of the estimator."""
        return estimator_row(self.name)

    @property
    def identity(self) -> dict[str, Any]:
        """Name, version and options: results are equal where these are."""
        return {"name": self.name, "version": self.row.version} | asdict(cast(Any, self.options))


def option_names(name: str) -> tuple[str, ...]:
    """The options that the estimator called ``name`` has."""
    return tuple(item.name for item in fields(estimator_row(name).options))


def estimator_spec(name: str = DEFAULT, **options: Any) -> EstimatorSpec[Any]:
    """The estimator called ``name`` with ``options`` of its own; what is not given has its default.

    Raises:
        InputError: no such estimator, an option it does not have, or a value that cannot be.
    """
    row = estimator_row(name)
    known = option_names(name)
    for option in options:
        if option not in known:
            has = f"choose from: {', '.join(known)}" if known else "it has none"
            raise InputError(f"{option!r} is not an option of {name}{suggestion(option, known)}; {has}")
    return EstimatorSpec(name=name, options=row.options(**options))
