"""The attributes of our groups: what their ``zarr.json`` says, as typed values. Writer, reader and schemas share them.

Beside these fields each group holds ``digest``, the SHA-256 of their canonical JSON, so that no changed field is ever shown
as ours. Attributes that others add under other names are left alone, and `verify` names them.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ie_store.specs import CorpusSpec, DatasetIdentity

FORMAT: Final = 3
CONVENTIONS = "CF-1.11, ie-store-1"
Format = Literal[3]


@dataclass(frozen=True, kw_only=True)
class GroupAttributes:
    """Attributes of the groups that only hold others: the store's root, each model, a dataset's estimates."""

    ie_store_format: Format = FORMAT
    Conventions: str = CONVENTIONS


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Numerical error of the stored states against a recomputation, one sequence at a time, in float32."""

    rows: int
    """Sequences recomputed."""
    relative_error: dict[str, float]
    """Norm of the difference over the norm, by layer."""
    micro_rows: int = 0
    """Lone tokens recomputed."""
    micro_relative_error: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DatasetAttributes:
    """Attributes of an activation dataset's group, MODEL/CORPUS."""

    ie_store_format: Format = FORMAT
    Conventions: str = CONVENTIONS
    identity: DatasetIdentity
    corpus: CorpusSpec
    complete: bool = False
    """All shards are written and audited."""
    incomplete_reason: str | None = "not all shards are written yet"
    audit: Audit | None = None
    """Null until the dataset is complete."""
    labels: tuple[str, ...] = ()
    """Names of the arrays with one value for each sequence that came with the source."""
    coordinates: str = "source_row"
    """Names of the coordinates that are not dimensions (CF conventions)."""


@dataclass(frozen=True, kw_only=True)
class LedgerAttributes:
    """Attributes of a dataset's ``ledger`` group."""

    sessions: tuple[dict[str, Any], ...] = ()
    """Provenance (versions, device, threads, time) of each run that wrote shards."""


@dataclass(frozen=True, kw_only=True)
class ResultsAttributes:
    """Attributes of the group ``estimates/ESTIMATOR-DIGEST``."""

    ie_store_format: Format = FORMAT
    Conventions: str = CONVENTIONS
    estimator: dict[str, Any]
    """The options that can change the results, by name."""
    activations_digest: str
    """SHA-256 of the identity of the dataset that was read."""
    num_blocks: int
    num_positions: int
    sessions: tuple[dict[str, Any], ...] = ()
    flags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Sentences of the input checks, by ``level/block/position``; level is macro, micro or ie."""
    checksums: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """crc32c of the shape and values of each array, by name; two of them while the array is being written."""


Attributes = GroupAttributes | DatasetAttributes | LedgerAttributes | ResultsAttributes


def dataset_attributes(identity: DatasetIdentity, corpus: CorpusSpec, labels: list[str]) -> DatasetAttributes:
    """Attributes of a new dataset."""
    named = tuple(sorted(labels))
    return DatasetAttributes(identity=identity, corpus=corpus, labels=named, coordinates=" ".join(["source_row", *named]))
