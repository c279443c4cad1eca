"""The values that flow between rooms: frozen, keyword-only, of JSON types, validated on construction.

Imports `errors`, `fields`, `grid` and `levels` alone, and hands on what `levels` defines. A spec's `digest` is its identity.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from ie_store.errors import InputError
from ie_store.fields import require_at_least, require_choice
from ie_store.grid import ceil_div
from ie_store.levels import LEVELS as LEVELS
from ie_store.levels import Level as Level
from ie_store.levels import LevelLayout as LevelLayout
from ie_store.levels import Shard as Shard
from ie_store.levels import Slab as Slab

StoredDtype = Literal["float16", "bfloat16", "float32"]
BosPolicy = Literal["none", "prepend"]

ITEM_BYTES: dict[str, int] = {"float16": 2, "bfloat16": 2, "float32": 4}
NATS_PER_BIT = 0.6931471805599453
NORMAL_95 = 1.959963984540054
"""Standard errors that a normal 95% interval reaches."""
_RANDOM_ID = re.compile(r"~random(?P<seed>\d+)$", re.ASCII)
MOST_CHUNK_BYTES = 2**31 - 32
"""Raw bytes of one inner chunk: Blosc counts them in a signed 32-bit integer, header included."""


def digest(spec: Any) -> str:
    """SHA-256 (64 hex digits) of a spec, or of any JSON value, in canonical JSON."""
    value = asdict(spec) if hasattr(spec, "__dataclass_fields__") else spec
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A loaded causal language model: everything about it that changes its hidden states."""

    id: str
    """Hub id, or the folder's name for a local model; ``~randomSEED`` behind it where its weights were drawn from a seed."""
    revision: str | None
    weights_digest: str
    """SHA-256 over the names, shapes and values of all parameters and buffers, and the configuration."""
    tokenizer_digest: str | None
    num_blocks: int
    hidden_size: int
    vocab_size: int
    compute_dtype: StoredDtype
    attention: str
    bos: BosPolicy

    @property
    def weights(self) -> str:
        """What kind of weights it has, for people: ``stored weights``, or ``random weights, seed 0``."""
        found = _RANDOM_ID.search(self.id)
        return f"random weights, seed {found['seed']}" if found else "stored weights"


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """What a corpus is, besides its rows."""

    recipe: str
    """Normalised recipe: every option written out, so that it names the corpus alone."""
    name: str
    """Short name for a group in the store: letters, digits, ``.``, ``_`` and ``-``."""
    fingerprint: str
    """SHA-256 over the sorted token rows, their source rows and their labels."""
    num_sequences: int
    num_positions: int
    complete: bool
    """True for an enumeration (its entropies are the truth), False for a sample."""
    population_prefix_nats: tuple[float, ...] | None = None
    """(position,) H(prefix) of the population, where the recipe knows it in closed form."""
    population_token_nats: tuple[float, ...] | None = None
    """(position,) H(token) of the population, where the recipe knows it in closed form."""
    dropped: tuple[tuple[str, int], ...] = ()
    """(reason, number of source rows) for every row left out."""


@dataclass(frozen=True, kw_only=True)
class StoreLayout:
    """The shape of one activation dataset and how it is cut into shards (docs/glossary.md: shard, chunk, group)."""

    num_layers: int
    """L + 1: layer 0 enters block 0, layer l is the output of block l-1."""
    num_positions: int
    num_sequences: int
    num_tokens: int
    """Distinct token ids of the corpus."""
    hidden_size: int
    stored_dtype: StoredDtype
    layers: tuple[int, ...]
    """Layers that are stored; the arrays always have all ``num_layers``, the others are never written."""
    positions: tuple[int, ...]
    """Positions of macro that are stored, likewise."""
    rows_per_shard: int
    """S: sequences in a macro shard; a power of two."""
    tokens_per_shard: int
    """Distinct tokens in a micro shard; a power of two."""
    shards_per_group: int
    """G: neighbouring macro shards whose rows may meet in one forward batch."""
    rows_per_batch: int
    """Distinct prefixes per forward batch: part of the layout because states differ in their last bits between batch shapes."""

    def __post_init__(self) -> None:
        require_choice("stored dtype", self.stored_dtype, StoredDtype)
        for name in ("num_layers", "num_positions", "num_sequences", "num_tokens", "hidden_size"):
            require_at_least(name, getattr(self, name), 1)
        for name in ("rows_per_shard", "tokens_per_shard", "shards_per_group", "rows_per_batch"):
            require_at_least(name, getattr(self, name), 1)
        for name, size in (("layers", self.num_layers), ("positions", self.num_positions)):
            chosen = getattr(self, name)
            if not chosen or list(chosen) != sorted(set(chosen)) or chosen[0] < 0 or chosen[-1] >= size:
                raise InputError(f"{name} are {chosen}; they must be distinct, rising and within 0..{size - 1}")
        rows = max(self.rows_per_shard, self.tokens_per_shard)
        if rows * self.hidden_size * ITEM_BYTES[self.stored_dtype] > MOST_CHUNK_BYTES:
            raise InputError(
                f"a chunk of {rows:,} rows of {self.hidden_size:,} {self.stored_dtype} numbers would have more than "
                f"{MOST_CHUNK_BYTES:,} bytes, the most that its codec can hold"
            )

    def level(self, level: Level) -> LevelLayout:
        """What holds of macro or micro alone."""
        suffix = "_bfloat16_bits" if self.stored_dtype == "bfloat16" else ""
        row_bytes = self.hidden_size * ITEM_BYTES[self.stored_dtype]
        if level == "macro":
            return LevelLayout(
                level=level, array=level + suffix, dimensions=("layer", "position", "sequence", "hidden"),
                grid=(self.num_layers, self.num_positions), stored=(self.layers, self.positions), num_rows=self.num_sequences,
                rows_per_shard=self.rows_per_shard, shards_per_group=self.shards_per_group, row_bytes=row_bytes,
            )  # fmt: skip
        return LevelLayout(
            level=level, array=level + suffix, dimensions=("layer", "token", "hidden"), grid=(self.num_layers,),
            stored=(self.layers,), num_rows=self.num_tokens, rows_per_shard=self.tokens_per_shard, shards_per_group=1,
            row_bytes=row_bytes,
        )  # fmt: skip

    def num_shards(self, level: Level) -> int:
        """Shards of macro or micro."""
        return self.level(level).num_shards

    def shard(self, level: Level, index: int) -> Shard:
        """The write unit ``index`` of macro or micro."""
        return self.level(level).shard(index)

    @property
    def num_groups(self) -> int:
        """Groups of macro shards."""
        return ceil_div(self.num_shards("macro"), self.shards_per_group)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One mutual information to estimate: I(layer ``block``; layer ``block + 1``) at one position of one level."""

    level: Level
    block: int
    position: int


class Outcome(StrEnum):
    """How an estimate ended. The value is stored; `advice` is what people read."""

    EXACT = "exact"
    CERTIFIED = "certified"
    CONVERGED = "converged"
    STEP_LIMIT = "step limit"
    SATURATED = "saturated"
    DIVERGED = "diverged"
    ABOVE_CEILING = "above its ceiling"
    NOT_A_BOUND = "not a bound"
    UNSTABLE = "unstable"

    @property
    def advice(self) -> str:
        """What the outcome means and what to do about it."""
        return _ADVICE[self]

    @property
    def flagged(self) -> bool:
        """True where the value must not be read as the mutual information."""
        return self not in (Outcome.EXACT, Outcome.CERTIFIED, Outcome.CONVERGED)


_ADVICE: dict[Outcome, str] = {
    Outcome.EXACT: "the Shannon value of the rows as listed",
    Outcome.CERTIFIED: "lies in its interval with at least 95% probability, by a proven bound; nothing was trained",
    Outcome.CONVERGED: "the validation score stopped rising and the value is clear of its limits",
    Outcome.STEP_LIMIT: "still rising when the steps ran out: a looser lower bound than it could be; raise --steps",
    Outcome.SATURATED: "within 15% of ln(test rows), the most they can show: read as 'at least'; use more sequences or noise",
    Outcome.DIVERGED: "scores overflowed or the bound fell apart on test rows: no evidence; lower the learning rate or use noise",
    Outcome.ABOVE_CEILING: "larger than the information there is: wrong; the estimator's assumptions do not hold here",
    Outcome.NOT_A_BOUND: "may lie on either side of the truth by any amount: to compare with other values, no evidence by itself",
    Outcome.UNSTABLE: "folds and seeds disagree by more than 5% of the value; use more sequences, seeds or folds",
}


@dataclass(frozen=True, kw_only=True)
class MIEstimate:
    """One mutual information, with all that is needed to believe it or not. Unit: nats."""

    estimator: str
    """Name of its row in the table of estimators."""
    nats: float
    interval_nats: tuple[float, float]
    """95% interval, clustered by sequence, seeds and folds included (noise: the proven one). It ends at
    ``ceiling_nats`` at most: what lies above is cut off, so that a value flagged as above its ceiling lies outside."""
    standard_error_nats: float
    ceiling_nats: float | None
    """Exact value of the rows as listed (``ceiling_listed``); None where there is none (continuous arrays)."""
    ceiling_population_nats: float | None
    outcome: Outcome
    flags: tuple[str, ...] = ()
    """Sentences of the input checks, empty where nothing was found."""
    diagnostics: dict[str, Any] = field(default_factory=dict)
    """ln_n_test, num_test, num_negatives, train_nats, train_test_gap_nats, steps, seed, wall_seconds, flops, versions, ..."""

    @classmethod
    def exactly(
        cls, estimator: str, nats: float, population_nats: float | None = None, flags: tuple[str, ...] = ()
    ) -> "MIEstimate":
        """An estimate that is known: its own ceiling, without error."""
        return cls(
            estimator=estimator,
            nats=nats,
            interval_nats=(nats, nats),
            standard_error_nats=0.0,
            ceiling_nats=nats,
            ceiling_population_nats=population_nats,
            outcome=Outcome.EXACT,
            flags=flags,
        )


@dataclass(frozen=True, kw_only=True)
class Emergence:
    """Information Emergence of one block at one position: macro minus the mean of micro over positions 0..position."""

    estimator: str
    """Name of its row in the table of estimators."""
    block: int
    position: int
    ie_nats: float
    interval_nats: tuple[float, float]
    """Where the exact emergence lies, as far as the parts tell: a lower bound leaves its truth open up to the ceiling. It
    never ends above the ceiling of the macro term."""
    macro_nats: float
    micro_nats: float
    """Mean over positions 0..position of the micro estimates."""
    ceiling_nats: float
    """Exact emergence of the rows as listed."""
    ceiling_population_nats: float | None
    outcome: Outcome
    """The worst of the outcomes that entered."""
    flags: tuple[str, ...] = ()
    standard_error_nats: float = 0.0
    """Of ``ie_nats`` itself, from sampling, folds and seeds: what blocks are compared by."""
    curve_nats: tuple[tuple[float, float], ...] = ()
    """noise: certified interval (low, high) at each of the estimator's sigmas."""


@dataclass(frozen=True, kw_only=True)
class DatasetIdentity:
    """What an activation dataset was made from; two runs may share a dataset only where all of it agrees."""

    model: ModelSpec
    corpus_fingerprint: str
    recipe: str
    layout: StoreLayout

    def differences(self, stored: "DatasetIdentity") -> list[str]:
        """One line per field in which the stored identity differs: ``name: stored X, asked Y``."""
        mine, theirs = _flatten(asdict(self)), _flatten(asdict(stored))
        return [
            f"{name}: stored {theirs.get(name)!r}, asked {mine.get(name)!r}"
            for name in sorted(mine.keys() | theirs.keys())
            if mine.get(name) != theirs.get(name)
        ]


def _flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, dict):
            flat.update(_flatten(item, f"{prefix}{name}."))
        else:
            flat[prefix + name] = list(item) if isinstance(item, tuple) else item
    return flat
