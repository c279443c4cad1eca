"""The table of profiles: descriptions of layers that are no information, one row each, as `ie_store.estimators` has estimators.

Imports `errors`, `estimators`, `fields`, `profile_options` and `variables` alone; functions are named here and loaded when they
are used. Command-line options and their help, and the identity of results follow from this table. A new profile is a file in
``estimate/profiles/`` and a row here. All its variables are over macro states, the rows of one layer at one position.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

from ie_store.errors import InputError
from ie_store.fields import require_known, suggestion
from ie_store.profile_options import NeighboursOptions, SpectrumOptions
from ie_store.variables import Variable

_ROOM = "ie_store.estimate.profiles"
SPECTRA: dict[str, str] = {
    "": "",
    "_without_first": ", without the largest eigenvalue",
    "_without_massive": ", without massive rows",
    "_without_massive_and_first": ", without massive rows and then without the largest eigenvalue",
}
"""Endings of the names of what is read off a spectrum, and what they mean."""


def _at_layer(name: str, long_name: str, *, over: str = "", units: str | None = None) -> Variable:
    dimensions = ("layer", "position", *([over] if over else []))
    return Variable(name=name, dimensions=dimensions, long_name=long_name, units=units, lineage="macro states of the layer")


def _at_block(name: str, long_name: str) -> Variable:
    lineage = "macro states of layers block and block + 1"
    return Variable(name=name, dimensions=("block", "position"), long_name=long_name, units="1", lineage=lineage)


def _dimension(name: str, what: str, over: str = "") -> tuple[Variable, ...]:
    return tuple(
        _at_layer(f"{name}{ending}", f"{what}{meaning}", over=over)
        for ending, meaning in (
            ("", ""),
            ("_low", ": lower end of the likelihood's 95% interval"),
            ("_high", ": upper end of the likelihood's 95% interval"),
            ("_subsample_mean", ": mean of five disjoint subsamples, which see scales as large as a fifth of the rows do"),
            ("_subsample_sd", ": standard deviation of the five disjoint subsamples"),
        )
    )


_SPECTRUM = (
    _at_layer("num_rows", "rows as listed"),
    _at_layer("num_massive", "rows as listed of massive activation"),
    _at_layer("num_massive_distinct", "distinct prefixes or tokens of massive activation"),
    *(
        _at_layer(f"{name}{ending}", f"{what}{meaning}")
        for ending, meaning in SPECTRA.items()
        for name, what in (
            ("effective_rank", "exp of the entropy of the covariance's normalised eigenvalues (Roy and Vetterli 2007)"),
            ("participation_ratio", "squared sum of the covariance's eigenvalues over the sum of their squares"),
        )
    ),
    *(
        variable
        for ending in ("", "_without_massive")
        for variable in (
            _at_layer(f"total_variance{ending}", f"trace of the covariance{SPECTRA[ending]}"),
            _at_layer(f"eigenvalue_share{ending}", f"eigenvalue over the trace{SPECTRA[ending]}", over="rank", units="1"),
            _at_layer(f"eigenvalue_share_rest{ending}", f"sum of the shares that are not stored{SPECTRA[ending]}", units="1"),
        )
    ),
)
_NEIGHBOURS = (
    _at_layer("num_rows", "distinct rows looked at"),
    _at_layer("num_equal", "rows looked at whose state another of them shares"),
    _at_layer("smallest_distance", "smallest distance between two of the rows looked at"),
    _at_layer("median_distance", "median distance to the nearest other row"),
    *_dimension("two_nn", "intrinsic dimension by TwoNN (Facco et al. 2017), censored maximum likelihood"),
    *_dimension("gride", "intrinsic dimension by GRIDE (Denti et al. 2022), neighbours k and 2k", over="scale"),
    _at_layer("scale_distance", "mean distance to the k-th and the 2k-th neighbour", over="scale"),
    _at_block("overlap", "share of a row's nearest neighbours that are the same in both layers"),
    _at_block("imbalance_forward", "information imbalance, from the block's input to its output (Glielmo et al. 2022)"),
    _at_block("imbalance_backward", "information imbalance, from the block's output to its input (Glielmo et al. 2022)"),
)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One row of the table."""

    name: str
    version: int
    """Part of the identity of results; it rises when values change under the same options."""
    summary: str
    options: type[Any]
    variables: tuple[Variable, ...]
    """All that it stores, beside coordinates."""
    compares_layers: bool
    """It also says something of a layer and the one before it."""
    measure: str
    """``module:function`` that describes a layer at a position: `Measure` in ``estimate/profile.py``."""
    needs: str
    """``module:function`` that says what memory that takes beside the slabs: `NeededBytes` in ``estimate/profile.py``."""

    def variable(self, name: str) -> Variable:
        """The variable called ``name``."""
        return next(variable for variable in self.variables if variable.name == name)


PROFILES: tuple[Profile, ...] = (
    Profile(
        name="spectrum",
        version=1,
        summary="eigenvalues of the covariance, effective rank and participation ratio",
        options=SpectrumOptions,
        variables=_SPECTRUM,
        compares_layers=False,
        measure=f"{_ROOM}.spectrum:measure",
        needs=f"{_ROOM}.spectrum:needs",
    ),
    Profile(
        name="neighbours",
        version=1,
        summary="intrinsic dimension, and how far neighbouring layers agree on who is near whom",
        options=NeighboursOptions,
        variables=_NEIGHBOURS,
        compares_layers=True,
        measure=f"{_ROOM}.neighbours:measure",
        needs=f"{_ROOM}.neighbours:needs",
    ),
)
"""Every profile, in the order in which they are shown."""
PROFILE_NAMES: tuple[str, ...] = tuple(row.name for row in PROFILES)


def profile_row(name: str) -> Profile:
    """The row called ``name``.

    Raises:
        InputError: there is none.
    """
    require_known("profile", name, PROFILE_NAMES)
    return PROFILES[PROFILE_NAMES.index(name)]


def profile_option_names(name: str) -> tuple[str, ...]:
    """The options that the profile called ``name`` has."""
    return tuple(item.name for item in fields(profile_row(name).options))


@dataclass(frozen=True, kw_only=True)
class ProfileMethod:
    """A profile and everything that changes its result; `profile_method` makes it."""

    name: str
    options: Any
    """Of the class that the profile's row names."""

    def __post_init__(self) -> None:
        wanted = self.row.options
        if type(self.options) is not wanted:
            raise InputError(f"profile {self.name} takes {wanted.__name__}, not {type(self.options).__name__}")

    @property
    def row(self) -> Profile:
        """What is true of the profile."""
        return profile_row(self.name)

    @property
    def identity(self) -> dict[str, Any]:
        """Name, version and options: results are equal where these are."""
        return {"name": self.name, "version": self.row.version} | asdict(self.options)


def profile_method(name: str, **options: Any) -> ProfileMethod:
    """The profile called ``name`` with ``options`` of its own; what is not given has its default.

    Raises:
        InputError: no such profile, an option it does not have, or a value that cannot be.
    """
    known = profile_option_names(name)
    for option in options:
        if option not in known:
            raise InputError(f"{option!r} is not an option of {name}{suggestion(option, known)}; choose from: {', '.join(known)}")
    return ProfileMethod(name=name, options=profile_row(name).options(**options))
