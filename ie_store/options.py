"""What a user asks for: the options of each stage, validated on construction, and the progress they report.

Imports `errors` and `specs` alone. The ``help`` of a field is also the help of the command-line option of that name.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ie_store.errors import InputError
from ie_store.specs import BosPolicy, EstimatorName, StoredDtype, require_at_least, require_choice


def described(default: Any, text: str) -> Any:
    """A dataclass field with a default and the help text that documents it and its command-line option."""
    return field(default=default, metadata={"help": text})


def field_help(spec: type, name: str) -> str:
    """The help text of field ``name`` of a spec class."""
    return str({f.name: f.metadata.get("help", "") for f in fields(spec)}[name])


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a long piece of work has come."""

    stage: str
    """What is being done, for people: ``micro states``, ``macro states``, ``audit``, ``mine, block 3``."""
    done: int
    total: int
    unit: str
    """What ``done`` counts: ``rows``, ``steps``, ``problems``, ``chunks``."""
    num_bytes: int = 0
    """Bytes written or read so far in this stage."""


Attention = Literal["auto", "sdpa", "eager"]
OnProgress = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """The default `OnProgress`: says nothing."""


@dataclass(frozen=True, kw_only=True)
class ExtractSpec:
    """What stage one is asked to do."""

    store: str = described("", "the store: a local folder or an s3:// address")
    model: str = described("", "model: a hub id or a local folder")
    corpus: str = described("", "corpus recipe, for example 'icl:country?names=10' or 'text:FILE?length=8'")
    gguf_file: str | None = described(None, "name of the GGUF file inside the model folder or repository")
    revision: str | None = described(None, "revision of the model on the hub")
    name: str | None = described(None, "MODEL/CORPUS under which the dataset is stored; made from the ids by default")
    positions: str = described("all", "positions of macro states to store: all, last, or a list like 0,3,7 or 2-5")
    layers: str = described("all", "layers to store: all, last, or a list like 0,10,20 or 0-4")
    dtype: StoredDtype = described("float16", "storage dtype: float16, bfloat16 or float32")
    compute_dtype: StoredDtype | None = described(
        None, "dtype the model computes in; float32 on CPU, bfloat16 on CUDA by default"
    )
    bos: BosPolicy = described("none", "beginning-of-sequence token: none, or prepend before each sequence and each lone token")
    attention: Attention = described("auto", "attention implementation: sdpa, eager, or auto: sdpa where the model has it")
    device: str = described("auto", "device the model runs on: auto, cpu, cuda, cuda:1, ...")
    batch_size: int = described(0, "rows per forward batch; a step over fewer positions takes that many more prefixes; 0 chooses")
    num_sequences: int | None = described(None, "keep a random sample of this many sequences")
    seed: int = described(0, "seed of the sample")
    replace: bool = described(False, "remove a dataset of the same name and other identity first")
    repair: bool = described(
        False, "check every stored chunk first and compute damaged shards again; without it only missing shards are computed"
    )
    trust_remote_code: bool = described(False, "run model code that comes with a hub repository")
    audit_rows: int = described(16, "rows recomputed one sequence at a time in float32 to measure the numerical error")

    def __post_init__(self) -> None:
        require_choice("dtype", self.dtype, StoredDtype)
        require_choice("bos", self.bos, BosPolicy)
        require_choice("attention", self.attention, Attention)
        if self.compute_dtype is not None:
            require_choice("compute_dtype", self.compute_dtype, StoredDtype)
        for name, least in (("batch_size", 0), ("audit_rows", 1)):
            require_at_least(name, getattr(self, name), least)
        if self.num_sequences is not None:
            require_at_least("num_sequences", self.num_sequences, 1)


@dataclass(frozen=True, kw_only=True)
class EstimatorSpec:
    """An estimator and everything that changes its result."""

    name: EstimatorName = described("mine", "estimator: exact, mine, infonce, nwj, smile, js, cca, noise or mine-paper")
    seed: int = described(0, "seed of the split, of the initial critic and of the mini-batches")
    steps: int = described(2000, "most optimiser steps of one training")
    folds: int = described(2, "cross-fitting folds: each test row is tested once per seed")
    seeds: int = described(1, "repeats of the whole with seeds seed, seed+1, ...")
    batch_size: int = described(512, "rows in a mini-batch")
    learning_rate: float = described(3e-3, "peak learning rate")
    sigmas: tuple[float, ...] = described(
        (0.5, 1.0, 2.0, 4.0, 8.0, 16.0), "noise: the curve's noise levels, in units of its scale"
    )
    sigma: float = described(4.0, "noise: the level whose value is shown as the estimate; one of the sigmas")
    scale: Literal["std", "rms"] = described(
        "std", "noise: scale of the noise, each dimension's standard deviation or the overall rms"
    )
    outer_rows: int = described(0, "noise: rows whose distances to all others are taken; 0 means all of them")
    segment_size: int = described(0, "mine-paper: columns per segment, reported one by one; 0 means no cutting")

    def __post_init__(self) -> None:
        require_choice("estimator", self.name, EstimatorName)
        require_choice("scale", self.scale, Literal["std", "rms"])
        for name, least in (("steps", 1), ("folds", 1), ("seeds", 1), ("batch_size", 2), ("outer_rows", 0), ("segment_size", 0)):
            require_at_least(name, getattr(self, name), least)
        if not 0 < self.learning_rate < 1:
            raise InputError(f"learning_rate is {self.learning_rate}; it must lie between 0 and 1")
        if not self.sigmas or min(self.sigmas) <= 0 or list(self.sigmas) != sorted(set(self.sigmas)):
            raise InputError(f"sigmas are {self.sigmas}; give positive noise levels in rising order")
        if self.outer_rows == 1:
            raise InputError("outer_rows is 1, which gives no error bar; use 0 for all rows, or at least 2")
        if self.name == "noise" and self.sigma not in self.sigmas:
            raise InputError(f"sigma {self.sigma} is not one of the curve's sigmas {self.sigmas}")


NOISE_OPTIONS = ("sigmas", "sigma", "scale", "outer_rows")
PAPER_OPTIONS = ("segment_size",)


def relevant_options(spec: EstimatorSpec) -> dict[str, Any]:
    """The options of ``spec`` that can change this estimator's results: its identity, equal where results are equal."""
    own: tuple[str, ...] = tuple(f.name for f in fields(spec) if f.name not in (*NOISE_OPTIONS, *PAPER_OPTIONS))
    if spec.name == "exact":
        own = ()
    elif spec.name == "noise":
        own = (*NOISE_OPTIONS, "seed") if spec.outer_rows else NOISE_OPTIONS
    elif spec.name == "mine-paper":
        own = ("seed", "seeds", *PAPER_OPTIONS)
    return {"name": spec.name} | {name: getattr(spec, name) for name in own}


@dataclass(frozen=True, kw_only=True)
class EstimateSpec:
    """What stage two is asked to do."""

    store: str = described("", "the store: a local folder or an s3:// address")
    name: str = described("", "MODEL/CORPUS in the store")
    estimators: tuple[EstimatorSpec, ...] = described((EstimatorSpec(),), "the estimators, beside exact, which always runs")
    blocks: str = described("all", "blocks to estimate: all that are stored, last, or a list like 0,5,10 or 2-5")
    positions: str = described("last", "positions of the growth curve: last, all that are stored, or a list like 0,3,7")
    device: str = described("auto", "device that estimates: auto, cpu, cuda, cuda:1, ...")
    strict: bool = described(False, "exit with code 3 where a written result carries a flag")
    yes: bool = described(False, "start mine-paper even where it is predicted to take more than ten minutes")

    def __post_init__(self) -> None:
        if not self.estimators:
            raise InputError(
                "no estimator was asked for; give at least one EstimatorSpec, for example EstimatorSpec(name='mine')"
            )


@dataclass(frozen=True, kw_only=True)
class CheckSpec:
    """What is to be checked of the estimators, on a few problems of a dataset."""

    store: str = described("", "the store: a local folder or an s3:// address")
    name: str = described("", "MODEL/CORPUS in the store")
    estimators: tuple[EstimatorSpec, ...] = described((EstimatorSpec(),), "the estimators to check")
    blocks: str = described("few", "blocks to check: few (first, middle and last of those stored), or a list like 0,5,10")
    position: str = described("last", "the one position to check: last, or a number")
    rows: int = described(1000, "sequences drawn for each problem; more cost more time")
    permutations: int = described(19, "shuffled repeats of the permutation null; its p-value is at least 1 / (1 + permutations)")
    seed: int = described(0, "seed of the draw and of the shuffles")
    device: str = described("auto", "device that estimates: auto, cpu, cuda, cuda:1, ...")

    def __post_init__(self) -> None:
        for name, least in (("rows", 200), ("permutations", 1)):
            require_at_least(name, getattr(self, name), least)
