"""What an extraction will do, in numbers, before the first byte is written."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ie_store.corpus.rows import Corpus
from ie_store.errors import DiskSpaceError
from ie_store.extract.forecast_speed import ModelSpeed, cost
from ie_store.extract.forward.batches import STEP_OVERHEAD
from ie_store.extract.forward.group import Engine
from ie_store.extract.work import WorkItem
from ie_store.prefixes import common_prefix_lengths, num_distinct_prefixes
from ie_store.specs import ITEM_BYTES, Shard, StoreLayout

_MATCH_BYTES = 255
"""lz4 needs about one byte for this many bytes that repeat earlier ones."""
_CHUNK_BYTES = 64
"""Header and padding of an encoded chunk."""
_INDEX_BYTES = 16
"""Entry of the shard's index for each of its chunks, stored or not."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be computed and written, and how long it should take."""

    name: str
    """MODEL/CORPUS."""
    model: str
    recipe: str
    num_sequences: int
    num_positions: int
    num_tokens: int
    """Distinct tokens: rows of micro."""
    num_layers: int
    hidden_size: int
    stored_dtype: str
    compute_dtype: str
    device: str
    distinct_prefixes: tuple[int, ...]
    """(position,) over the whole corpus."""
    forward: Literal["prefix-shared", "plain"]
    forward_note: str
    """Why the forward is plain; empty where prefixes are shared."""
    rows_per_shard: int
    shards_per_group: int
    rows_per_batch: int
    num_shards: int
    """Macro and micro."""
    missing_shards: int
    """Those of them still to be written."""
    tokens_dense: int
    """Tokens that a plain forward of all rows computes for the missing shards."""
    tokens_computed: int
    dense_bytes: int
    """Of both arrays, as they are read."""
    encoded_bytes: int
    """Estimate for the missing shards, as they are written."""
    free_bytes: int | None
    forward_seconds: float
    write_seconds: float | None
    audit_seconds: float
    seconds: float
    """Expected, with writing behind computing."""
    bottleneck: Literal["model", "disk", "nothing"]


def make_plan(
    engine: Engine,
    corpus: Corpus,
    units: list[WorkItem],
    *,
    name: str,
    speed: ModelSpeed,
    disk_rate: float | None,
    free_bytes: int | None,
    audit_rows: int,
) -> Plan:
    """Add up what the missing units cost and fill."""
    layout, model, sharing = engine.layout, engine.model.spec, engine.sharing
    work = [(unit, engine.blocks(unit.level, unit.rows(corpus)[0])) for unit in units]
    encoded_bytes = sum(encoded_bytes_of(layout, shard, corpus.tokens) for unit in units for shard in unit.shards)
    shares = any(len(block.segments) > 1 for _, blocks in work for block in blocks) or (sharing.shared and not units)
    forward_seconds = speed.seconds(sum(cost(blocks) for _, blocks in work))
    write_seconds = encoded_bytes / disk_rate if disk_rate else None
    audit_seconds = speed.seconds(audit_rows * (layout.num_positions + 2 * STEP_OVERHEAD)) if units else 0.0
    bottleneck: Literal["model", "disk"] = "disk" if write_seconds and write_seconds > forward_seconds else "model"
    return Plan(
        name=name,
        model=model.id,
        recipe=corpus.spec.recipe,
        num_sequences=layout.num_sequences,
        num_positions=layout.num_positions,
        num_tokens=layout.num_tokens,
        num_layers=layout.num_layers,
        hidden_size=layout.hidden_size,
        stored_dtype=layout.stored_dtype,
        compute_dtype=model.compute_dtype,
        device=str(engine.model.device),
        distinct_prefixes=tuple(num_distinct_prefixes(common_prefix_lengths(corpus.tokens), layout.num_positions).tolist()),
        forward="prefix-shared" if shares else "plain",
        forward_note=sharing.reason if shares or not sharing.shared else "no rows share prefixes enough to pay",
        rows_per_shard=layout.rows_per_shard,
        shards_per_group=layout.shards_per_group,
        rows_per_batch=layout.rows_per_batch,
        num_shards=layout.num_shards("macro") + layout.num_shards("micro"),
        missing_shards=sum(len(unit.shards) for unit in units),
        tokens_dense=sum(unit.num_rows * (layout.num_positions if unit.level == "macro" else 1) for unit in units),
        tokens_computed=sum(block.num_tokens for _, blocks in work for block in blocks),
        dense_bytes=dense_bytes_of(layout),
        encoded_bytes=encoded_bytes,
        free_bytes=free_bytes,
        forward_seconds=forward_seconds,
        write_seconds=write_seconds,
        audit_seconds=audit_seconds,
        seconds=max(forward_seconds, write_seconds or 0.0) + audit_seconds,
        bottleneck=bottleneck if units else "nothing",
    )


def dense_bytes_of(layout: StoreLayout) -> int:
    """Bytes of macro and micro as arrays, of the layers and positions that are stored."""
    rows = layout.num_sequences * len(layout.positions) + layout.num_tokens
    return rows * len(layout.layers) * layout.hidden_size * ITEM_BYTES[layout.stored_dtype]


def encoded_bytes_of(layout: StoreLayout, shard: Shard, tokens: NDArray[np.int32]) -> int:
    """Estimate of a shard's file: rows that equal the one above cost next to nothing, all others are incompressible.

    Args:
        layout: sizes.
        shard: which.
        tokens: (sequence, position) of the whole corpus.
    """
    row_bytes = layout.hidden_size * ITEM_BYTES[layout.stored_dtype]
    num_rows = shard.stop - shard.start
    if shard.level == "micro":
        return len(layout.layers) * (num_rows * row_bytes + _CHUNK_BYTES) + layout.num_layers * _INDEX_BYTES
    rows = tokens[shard.start : shard.stop]
    prefixes = num_distinct_prefixes(common_prefix_lengths(rows), layout.num_positions)
    own_tokens = 1 + (rows[1:] != rows[:-1]).sum(axis=0)
    total = layout.num_layers * layout.num_positions * _INDEX_BYTES
    for layer in layout.layers:
        distinct = int((own_tokens if layer == 0 else prefixes)[list(layout.positions)].sum())
        repeated = num_rows * len(layout.positions) - distinct
        total += row_bytes * distinct + row_bytes * repeated // _MATCH_BYTES + _CHUNK_BYTES * len(layout.positions)
    return total


def require_room(plan: Plan, address: str) -> None:
    """Raise `DiskSpaceError` unless what is missing fits on the disk."""
    if plan.free_bytes is not None and plan.encoded_bytes > plan.free_bytes:
        raise DiskSpaceError(
            f"{address}: about {plan.encoded_bytes / 1e9:.2f} GB are to be written and {plan.free_bytes / 1e9:.2f} GB are free; "
            "make room, take another disk, or store fewer layers, positions or sequences (--layers, --positions, --num-sequences)"
        )
