"""What a user asks for: the options of each stage, validated on construction, and the progress they report.

Imports `errors`, `estimators`, `fields`, `profiles` and `specs` alone. The ``help`` of a field is also that of the command-line
option of that name.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from ie_store.errors import InputError
from ie_store.estimators import DEFAULTS, EstimatorSpec, estimator_spec
from ie_store.fields import described, parse_duration, parse_size, require_at_least, require_choice, require_seed
from ie_store.profiles import PROFILE_NAMES, ProfileMethod, profile_method
from ie_store.specs import BosPolicy, MIEstimate, Problem, StoredDtype


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
    is_whole_run: bool = False
    """True for the run itself, of which other stages are parts; how long it takes, `seconds_left` alone says."""
    seconds_left: float | None = None
    """Of the whole run, from what finished work took; None while that tells nothing."""
    found: dict[Problem, MIEstimate] = field(default_factory=dict)
    """What was estimated since the last report."""


Attention = Literal["auto", "sdpa", "eager"]
DtypeChoice = Literal["auto", "float16", "bfloat16", "float32"]
_RANDOM_WEIGHTS = re.compile(r"random(:(?P<seed>[0-9]{1,19}))?")
OnProgress = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """The default `OnProgress`: says nothing."""


WORKERS_HELP = "processes of this machine that share the work and its cores; 0: this process alone"
MEMORY_HELP = (
    "most memory beside what is loaded, for example 4GiB; changes no value. By default a quarter of the machine's, and at most "
    "half of a GPU's"
)
SCHEDULER_HELP = "address of a Dask scheduler whose workers do the work, for example tcp://host:8786"


def _bytes_of(memory: str | None) -> int | None:
    """The size that ``memory`` is; None for the default.

    Raises:
        InputError: it is no size.
    """
    return None if memory is None else parse_size("memory", memory)


def _require_one_crew(workers: int, scheduler: str | None) -> None:
    require_at_least("workers", workers, 0)
    if workers and scheduler:
        raise InputError(f"workers is {workers} and scheduler is {scheduler!r}; give one of them")


@dataclass(frozen=True, kw_only=True)
class ExtractSpec:
    """What stage one is asked to do."""

    store: str = described("", "the store: a local folder or an s3:// address")
    model: str = described("", "model: a hub id or a local folder")
    corpus: str = described("", "corpus recipe, for example 'icl:country?names=10' or 'text:FILE?length=8'")
    gguf_file: str | None = described(None, "name of the GGUF file inside the model folder or repository")
    revision: str | None = described(None, "revision of the model on the hub")
    weights: str = described(
        "stored", "stored, or random[:SEED]: the same architecture and tokenizer with seeded weights as before any training"
    )
    name: str | None = described(None, "MODEL/CORPUS under which the dataset is stored; made from the ids by default")
    positions: str = described("all", "positions of macro states to store: all, last, or a list like 0,3,7 or 2-5")
    layers: str = described("all", "layers to store: all, last, or a list like 0,10,20 or 0-4")
    dtype: DtypeChoice = described(
        "auto", "storage dtype: float16, bfloat16, float32, or auto: float16 unless a sample of states comes near its range"
    )
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
    workers: int = described(0, WORKERS_HELP)
    scheduler: str | None = described(None, SCHEDULER_HELP)

    def __post_init__(self) -> None:
        require_seed(self.weights_seed or 0)
        require_choice("dtype", self.dtype, DtypeChoice)
        require_choice("bos", self.bos, BosPolicy)
        require_choice("attention", self.attention, Attention)
        if self.compute_dtype is not None:
            require_choice("compute_dtype", self.compute_dtype, StoredDtype)
        require_seed(self.seed)
        for name, least in (("batch_size", 0), ("audit_rows", 1)):
            require_at_least(name, getattr(self, name), least)
        _require_one_crew(self.workers, self.scheduler)
        if self.num_sequences is not None:
            require_at_least("num_sequences", self.num_sequences, 1)

    @property
    def weights_seed(self) -> int | None:
        """Seed of random weights; None for the stored ones.

        Raises:
            InputError: ``weights`` is something else.
        """
        if self.weights == "stored":
            return None
        found = _RANDOM_WEIGHTS.fullmatch(self.weights)
        if found is None:
            raise InputError(
                f"weights is {self.weights!r}; it must be stored, random, or random:SEED with a whole number as seed"
            )
        return int(found["seed"] or 0)


@dataclass(frozen=True, kw_only=True)
class EstimateSpec:
    """What stage two is asked to do."""

    store: str = described("", "the store: a local folder or an s3:// address")
    name: str = described("", "MODEL/CORPUS in the store")
    estimators: tuple[EstimatorSpec[Any], ...] = described(
        tuple(map(estimator_spec, DEFAULTS)), "the estimators, beside exact, which always runs"
    )
    blocks: str = described("all", "blocks to estimate: all that are stored, last, or a list like 0,5,10 or 2-5")
    positions: str = described("last", "positions of the growth curve: last, all that are stored, or a list like 0,3,7")
    device: str = described("auto", "device that estimates: auto, cpu, cuda, cuda:1, ...")
    strict: bool = described(False, "exit with code 3 where a written result carries a flag")
    yes: bool = described(False, "start mine-paper even where it is predicted to take more than ten minutes")
    time_limit: str | None = described(
        None, "end after so long with what is done, for example 90s, 30m or 2h; the same command goes on from there"
    )
    memory: str | None = described(None, MEMORY_HELP)
    workers: int = described(0, WORKERS_HELP)
    scheduler: str | None = described(None, SCHEDULER_HELP)

    def __post_init__(self) -> None:
        if not self.estimators:
            raise InputError("no estimator was asked for; give at least one, for example estimator_spec('mine')")
        _require_one_crew(self.workers, self.scheduler)
        _ = self.time_limit_seconds, self.memory_bytes

    @property
    def memory_bytes(self) -> int | None:
        """The most memory; None for the default."""
        return _bytes_of(self.memory)

    @property
    def time_limit_seconds(self) -> float | None:
        """The time limit; None where there is none.

        Raises:
            InputError: it is no duration.
        """
        return None if self.time_limit is None else parse_duration("time-limit", self.time_limit)


SEEDS_OF_A_CHECK = 3
"""Seeds that a check compares, from an estimator's own on."""


@dataclass(frozen=True, kw_only=True)
class CheckSpec:
    """What is to be checked of the estimators, on a few problems of a dataset."""

    store: str = described("", "the store: a local folder or an s3:// address")
    name: str = described("", "MODEL/CORPUS in the store")
    estimators: tuple[EstimatorSpec[Any], ...] = described((estimator_spec(),), "the estimators to check")
    blocks: str = described("few", "blocks to check: few (first, middle and last of those stored), or a list like 0,5,10")
    position: str = described("last", "the one position to check: last, or a number")
    rows: int = described(1000, "sequences drawn for each problem; more cost more time")
    permutations: int = described(19, "shuffled repeats of the permutation null; its p-value is at least 1 / (1 + permutations)")
    seed: int = described(0, "seed of the draw and of the shuffles")
    device: str = described("auto", "device that estimates: auto, cpu, cuda, cuda:1, ...")
    memory: str | None = described(None, MEMORY_HELP)

    def __post_init__(self) -> None:
        _ = self.memory_bytes
        require_seed(self.seed, SEEDS_OF_A_CHECK)
        for estimator in self.estimators:
            require_seed(getattr(estimator.options, "seed", 0), SEEDS_OF_A_CHECK)
        for name, least in (("rows", 200), ("permutations", 1)):
            require_at_least(name, getattr(self, name), least)

    @property
    def memory_bytes(self) -> int | None:
        """The most memory; None for the default."""
        return _bytes_of(self.memory)


@dataclass(frozen=True, kw_only=True)
class ProfileSpec:
    """What is to be described of the layers of a dataset."""

    store: str = described("", "the store: a local folder or an s3:// address")
    name: str = described("", "MODEL/CORPUS in the store")
    profiles: tuple[ProfileMethod, ...] = described(tuple(map(profile_method, PROFILE_NAMES)), "the profiles")
    layers: str = described("all", "layers to describe: all that are stored, last, or a list like 0,5,10 or 2-5")
    positions: str = described("last", "positions to describe: last, all that are stored, or a list like 0,3,7")
    device: str = described("auto", "device that computes: auto, cpu, cuda, cuda:1, ...")
    memory: str | None = described(None, MEMORY_HELP)

    def __post_init__(self) -> None:
        _ = self.memory_bytes
        if not self.profiles:
            raise InputError("no profile was asked for; give at least one, for example profile_method('spectrum')")

    @property
    def memory_bytes(self) -> int | None:
        """The most memory; None for the default."""
        return _bytes_of(self.memory)
