"""The options of each estimator: only what it uses, validated on construction. Imports `errors` and `fields` alone."""

from dataclasses import dataclass
from typing import Literal

from ie_store.errors import InputError
from ie_store.fields import described, is_number, keep_as_declared, require_choice, require_seed, require_whole

LEAST_SIGMA, MOST_SIGMA = 1e-3, 1e15
"""Below the one, what tells rows apart is the rounding of their storage; beyond the other, squares leave float32."""


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
            require_whole(name, getattr(self, name), 1)
        require_seed(self.seed, self.seeds)


@dataclass(frozen=True, kw_only=True)
class TrainedOptions(CrossFitOptions):
    """A critic trained on mini-batches."""

    steps: int = described(2000, "most optimiser steps of one training")
    batch_size: int = described(512, "rows in a mini-batch")
    learning_rate: float = described(3e-3, "peak learning rate")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("steps", self.steps, 1)
        require_whole("batch_size", self.batch_size, 2)
        if not is_number(self.learning_rate) or not 0 < self.learning_rate < 1:
            raise InputError(f"learning_rate is {self.learning_rate}; it must lie between 0 and 1")
        keep_as_declared(self)


@dataclass(frozen=True, kw_only=True)
class NoiseOptions:
    """Gaussian noise of several sizes."""

    sigmas: tuple[float, ...] = described((0.5, 1.0, 2.0, 4.0, 8.0, 16.0), "the curve's noise levels, in units of its scale")
    sigma: float = described(4.0, "the level whose value is shown as the estimate; one of the sigmas")
    scale: Literal["std", "rms"] = described("std", "scale of the noise, each dimension's standard deviation or the overall rms")
    tolerance: float = described(
        0.0, "half-width of the interval, in nats, at which drawing ends; 0 means 0.035, or 0.069 beyond 20,000 outcomes"
    )
    max_draws: int = described(65_536, "most noisy states drawn")
    seed: int = described(0, "seed of the noisy states")
    map_sigmas: tuple[float, ...] = described((), "more of the sigmas at which the maps of past tokens are made, beside sigma")

    def __post_init__(self) -> None:
        require_choice("scale", self.scale, Literal["std", "rms"])
        require_whole("max_draws", self.max_draws, 2)
        if not is_number(self.tolerance) or not 0 <= self.tolerance < float("inf"):
            raise InputError(f"tolerance is {self.tolerance}; give a half-width in nats above 0, or 0 for the default")
        require_seed(self.seed)
        is_list = isinstance(self.sigmas, tuple | list) and len(self.sigmas) > 0
        if not is_list or not all(is_number(s) and LEAST_SIGMA <= s <= MOST_SIGMA for s in self.sigmas):
            raise InputError(
                f"sigmas are {self.sigmas}; give noise levels from {LEAST_SIGMA:g} to {MOST_SIGMA:g}, in rising order"
            )
        if list(self.sigmas) != sorted(set(self.sigmas)):
            raise InputError(f"sigmas are {self.sigmas}; give them in rising order, each once")
        if self.sigma not in self.sigmas:
            raise InputError(f"sigma {self.sigma} is not one of the curve's sigmas {self.sigmas}")
        if not isinstance(self.map_sigmas, tuple | list) or not set(self.map_sigmas) <= set(self.sigmas) - {self.sigma}:
            raise InputError(f"map_sigmas are {self.map_sigmas}; give some of {self.sigmas} beside sigma, {self.sigma}")
        keep_as_declared(self)


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """A linear reader of states."""

    seed: int = described(0, "seed of the split and of the draw of test rows")
    folds: int = described(4, "cross-fitting folds: each distinct prefix is held out once")
    test_rows: int = described(20_000, "held-out prefixes that are scored, drawn where there are more; 0 means all of them")
    pointwise: bool = described(False, "keep the score of every held-out prefix, as a variable over sequences")

    def __post_init__(self) -> None:
        require_whole("folds", self.folds, 2)
        require_seed(self.seed)
        require_whole("test_rows", self.test_rows, 0)
        if 0 < self.test_rows < 2 * self.folds:
            raise InputError(f"test_rows is {self.test_rows}, too few for {self.folds} folds; give 2 for each, or 0 for all rows")
        if not isinstance(self.pointwise, bool):
            raise InputError(f"pointwise is {self.pointwise!r}; give True or False")


@dataclass(frozen=True, kw_only=True)
class PaperOptions:
    """The published procedure."""

    seed: int = described(0, "seed of the initial critic and of the permutations")
    seeds: int = described(1, "repeats of the whole with seeds seed, seed+1, ...")
    segment_size: int = described(0, "columns per segment, reported one by one; 0 means no cutting")

    def __post_init__(self) -> None:
        require_whole("seeds", self.seeds, 1)
        require_seed(self.seed, self.seeds)
        require_whole("segment_size", self.segment_size, 0)
