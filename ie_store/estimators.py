"""The table of estimators: one row each, with its options, what is true of it, and where its function stands.

Imports `errors`, `estimator_options`, `fields` and `variables` alone; functions are named here and loaded when they are used.
Command-line options and their help, the identity of results, `check`, `mutual_information`, the schemas and the documentation
follow from this table. A new estimator is a file in ``estimate/estimators/`` and a row here.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import import_module
from typing import Any, Generic, Literal, TypeVar, cast

from ie_store.errors import InputError
from ie_store.estimator_options import CrossFitOptions, DecodeOptions, ExactOptions, NoiseOptions, PaperOptions, TrainedOptions
from ie_store.fields import require_known, suggestion
from ie_store.variables import Variable

Options = TypeVar("Options")
Guarantee = Literal["exact", "certified", "lower bound", "none"]
_ROOM = "ie_store.estimate.estimators"


def _at_problem(name: str, long_name: str, units: str | None = None) -> Variable:
    return Variable(name=name, dimensions=("block", "position"), long_name=long_name, units=units)


_TIMED = _at_problem("wall_seconds", "time taken", "s")
_CROSS_FIT = (
    _TIMED,
    _at_problem("raw_nats", "value before it is cut off at 0", "nat"),
    _at_problem("folds", "cross-fitting folds"),
    _at_problem("seeds", "repeats with other seeds"),
    _at_problem("seed", "first seed"),
    _at_problem("num_test", "test sequences"),
    _at_problem("ln_n_test", "ln(test sequences)", "nat"),
    _at_problem("num_references", "columns that each test row is scored against: all test rows, or fewer where there are many"),
    _at_problem("ln_references", "ln(references): the most that the test rows can show", "nat"),
    _at_problem("num_negatives", "pairs of the product of the marginals in the test value"),
    _at_problem("is_weighted", "1 where a few distinct rows stand for all, with their weights"),
    _at_problem("train_nats", "the same statistic on train rows", "nat"),
    _at_problem("train_test_gap_nats", "train value minus test value", "nat"),
    _at_problem("steps", "optimiser steps taken"),
    _at_problem("best_step", "optimiser step of the best validation value"),
    _at_problem("flops", "floating-point operations of the training"),
)
_COUNTED = (
    _at_problem("total_correlation_nats", "sum of the entropies of the prefix's tokens, minus its own", "nat"),
    _at_problem("psi_nats", "Rosas' Psi: mutual information minus that of each token alone with the next layer", "nat"),
    _at_problem("num_outcomes", "distinct prefixes or tokens"),
    _at_problem("coverage", "share of the population that the sample has seen, Good's estimate", "1"),
    _at_problem("miller_madow_nats", "entropy of the population, Miller-Madow estimate", "nat"),
    _at_problem("chao_shen_nats", "entropy of the population, Chao-Shen estimate", "nat"),
)
_NOISE = (
    _TIMED,
    _at_problem("sigma", "noise level of the value"),
    _at_problem("sigma_half", "noise level at which half of the information is left"),
    _at_problem("sigma_half_low", "least noise level at which half of the information may be left"),
    _at_problem("sigma_half_high", "largest noise level at which half of the information may be left"),
    _at_problem("num_rows", "outcomes: distinct prefixes or tokens"),
    _at_problem("num_draws", "noisy states drawn"),
    _at_problem("error", "probability that the interval misses, at most", "1"),
    _at_problem("num_dimensions", "dimensions with variance"),
)
_DECODE = (
    _TIMED,
    _at_problem("raw_nats", "value before it is cut off at 0", "nat"),
    _at_problem("folds", "cross-fitting folds"),
    _at_problem("seed", "seed of the split and of the draw of test rows"),
    _at_problem("num_listed", "distinct prefixes that the reader chooses from"),
    _at_problem("num_test", "held-out prefixes that were scored"),
    _at_problem("num_train", "distinct prefixes in the smallest fold's train rows"),
    _at_problem("unseen_share", "share of held-out prefixes with a token that its position never has in train rows", "1"),
    _at_problem("trained_folds", "folds whose reader has trained heads, not those in closed form"),
    _at_problem("half_width_nats", "part of the interval that is due to drawing test rows", "nat"),
)
_PAPER = (
    _TIMED,
    _at_problem("last_nats", "value of the last step", "nat"),
    _at_problem("maximum_step", "step of the maximum"),
    _at_problem("steps", "optimiser steps taken"),
    _at_problem("seed", "first seed"),
    _at_problem("seeds", "repeats with other seeds"),
    _at_problem("num_train", "sequences trained on"),
    _at_problem("num_negatives", "sequences in the shuffled batch"),
    _at_problem("flops", "floating-point operations"),
)
OF_EVERY_ESTIMATE = (_at_problem("collisions", "prefixes or tokens whose stored state is that of another"),)
"""What is known of every estimate from stored states, whatever the estimator."""


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
    diagnostics: tuple[Variable, ...]
    """Numbers of `MIEstimate.diagnostics` that are stored with its value."""
    needs_lone_tokens: bool = False
    """Reads the lone tokens' states in the lowest stored layer besides those of its problems."""
    run_fold: str | None = None
    """``module:function`` that fits and tests one fold, of what is cross-fitted: `RunFold` in ``estimators/cross_fit.py``."""
    measure: str = f"{_ROOM}.cross_fit:measure"
    """``module:function`` that estimates problems of one shape from their states: `Measure` in ``estimate/batch_states.py``."""
    measure_arrays: str | None = f"{_ROOM}.cross_fit:of_arrays"
    """``module:function`` that estimates from anyone's rows: `MeasureArrays` in ``mutual_information.py``; None: it cannot."""
    needs: str = f"{_ROOM}.cross_fit:needs"
    """``module:function`` that says what memory an item needs: (spec, `ItemShape`) to `Needs` of ``estimate/batch_states.py``."""
    require_consent: str | None = None
    """``module:function`` that refuses a run predicted to be long, unless the user said yes."""
    meaning: str = ""
    """What a column of its values is, for people; option names in braces stand for their values. Empty: its summary."""
    condition: str = ""
    """Under what its values hold, for sentences, likewise: ``under noise of {sigma} {scale}``."""
    subject: str = ""
    """Who gets so many bits, for sentences without a condition: ``a linear reader gets``."""
    belief: str | None = None
    """What `check` says where nothing is to be tested."""


def _critic(name: str, summary: str, guarantee: Guarantee, version: int = 9, meaning: str = "") -> Estimator:
    return Estimator(
        name=name,
        version=version,
        summary=summary,
        meaning=meaning,
        options=TrainedOptions,
        guarantee=guarantee,
        trained=True,
        needs_states=True,
        diagnostics=_CROSS_FIT,
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
        diagnostics=_COUNTED,
        measure=f"{_ROOM}.exact:measure",
        measure_arrays=f"{_ROOM}.exact:of_arrays",
        belief="counted from the tokens, not estimated; it holds where no shared states are flagged",
    ),
    _critic(
        "mine",
        "a Donsker-Varadhan critic, read on test rows in a form that stays a lower bound",
        "lower bound",
        meaning="what a trained critic can show, a lower bound",
    ),
    _critic("infonce", "a contrastive critic, at most ln(test rows), or ln(16,384) where they are more", "lower bound", 7),
    _critic("nwj", "the bound of Nguyen, Wainwright and Jordan", "lower bound"),
    _critic("smile", "a Donsker-Varadhan value with clipped scores: less variance, and no bound", "none", 10),
    _critic("js", "a critic trained on the Jensen-Shannon bound, read as mine is", "lower bound"),
    Estimator(
        name="cca",
        version=7,
        summary="the Gaussian value by canonical correlations: exact for Gaussians, far too much for hidden states",
        options=CrossFitOptions,
        guarantee="none",
        trained=True,
        needs_states=True,
        diagnostics=_CROSS_FIT,
        run_fold=f"{_ROOM}.cca:run_fold",
    ),
    Estimator(
        name="noise",
        version=4,
        summary="what is left of the information in a block's input under Gaussian noise, by its exact posterior",
        options=NoiseOptions,
        guarantee="certified",
        trained=False,
        needs_states=True,
        diagnostics=_NOISE,
        measure=f"{_ROOM}.noise:measure",
        needs=f"{_ROOM}.noise:needs",
        measure_arrays=f"{_ROOM}.noise:of_arrays",
        meaning="robust, what is left under noise of {sigma} {scale}, each layer on its own scale",
        condition="under noise of {sigma} {scale}",
        belief="a mean of bounded draws with a proven interval, nothing trained: nothing to check but its width",
    ),
    Estimator(
        name="decode",
        version=7,
        summary="usable bits: what a linear reader of the state tells of prefixes that it was not trained on",
        options=DecodeOptions,
        guarantee="lower bound",
        trained=True,
        needs_states=True,
        needs_lone_tokens=True,
        diagnostics=_DECODE,
        measure=f"{_ROOM}.decode:measure",
        needs=f"{_ROOM}.decode:needs",
        measure_arrays=None,
        meaning="usable, what a linear reader gets on held-out prefixes",
        subject="a linear reader gets",
        belief="a held-out score of a fixed reader: its split is what there is to check, and is checked on every fold",
    ),
    Estimator(
        name="mine-paper",
        version=3,
        summary="the published procedure: a maximum over training, for comparison with published figures only",
        options=PaperOptions,
        guarantee="none",
        trained=True,
        needs_states=True,
        diagnostics=_PAPER,
        measure=f"{_ROOM}.mine_paper:measure",
        needs=f"{_ROOM}.mine_paper_cost:needs",
        measure_arrays=f"{_ROOM}.mine_paper:of_arrays",
        require_consent=f"{_ROOM}.mine_paper_cost:require_consent",
        belief="the maximum over training, on its own training rows, is no bound whatever the checks say",
    ),
)
"""Every estimator, in the order in which they are shown."""
NAMES: tuple[str, ...] = tuple(row.name for row in ESTIMATORS)
EXACT, DEFAULT = "exact", "mine"
"""What always runs, and what is meant where one estimator is and none is named: of arrays, and in a check."""
DEFAULTS = ("decode", "noise", "mine")
"""What `estimate` runs where none is named, and what stands first in tables."""
if len(set(NAMES)) != len(NAMES) or not {EXACT, DEFAULT, *DEFAULTS} <= set(NAMES):
    raise ValueError(f"every estimator has one row, those of {EXACT}, {DEFAULT} and {DEFAULTS} too; the table has {NAMES}")


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
    row, known = estimator_row(name), option_names(name)
    for option in options:
        if option not in known:
            has = f"choose from: {', '.join(known)}" if known else "it has none"
            raise InputError(f"{option!r} is not an option of {name}{suggestion(option, known)}; {has}")
    return EstimatorSpec(name=name, options=row.options(**options))
