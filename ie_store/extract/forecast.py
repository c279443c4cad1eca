"""How long a planned extraction should take, and how many bytes it should write."""

from dataclasses import dataclass
from typing import Literal

from ie_store.errors import DiskSpaceError
from ie_store.extract.forecast_speed import Speed, cost
from ie_store.extract.forward.tiles import STEP_OVERHEAD
from ie_store.extract.plan import ExtractPlan
from ie_store.extract.work import WorkItem
from ie_store.specs import ITEM_BYTES, StoreLayout

DRIFT = 1.35
"""By how much a machine's pace may change between measuring and the run: a run at 15.8 minutes had been measured as 11.9 before
it, and as 17.8 a while earlier."""
_MATCH_BYTES = 255
"""lz4 needs about one byte for this many bytes that repeat earlier ones."""
_CHUNK_BYTES = 64
"""Header and padding of an encoded chunk."""
_INDEX_BYTES = 16
"""Entry of the shard's index for each of its chunks, stored or not."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a plan should cost at a measured speed."""

    tokens: int
    """Through the model."""
    encoded_bytes: int
    """Of the missing shards, as they are written."""
    free_bytes: int | None
    forward_seconds: float
    write_seconds: float | None
    audit_seconds: float
    seconds: float
    """With writing behind computing, at the speed that was measured."""
    seconds_span: tuple[float, float]
    """With the machine to itself and faster by its drift, and at the lowest speed that was measured and slower by it."""
    bottleneck: Literal["model", "disk", "nothing"]


def make_forecast(plan: ExtractPlan, speed: Speed) -> Forecast:
    """What ``plan`` should cost at ``speed``."""
    encoded_bytes = sum(encoded_bytes_of(plan.layout, item) for item in plan.items)
    forward_cost = sum(cost(item.tiles) for item in plan.items)
    audit_cost = audit_cost_of(plan)
    forward_seconds = forward_cost / speed.model.mean
    write_seconds = encoded_bytes / speed.disk_bytes_per_second if speed.disk_bytes_per_second else None

    def seconds(rate: float) -> float:
        return max(forward_cost / rate, write_seconds or 0.0) + audit_cost / rate

    bottleneck: Literal["model", "disk"] = "disk" if write_seconds and write_seconds > forward_seconds else "model"
    return Forecast(
        tokens=plan.tokens_computed,
        encoded_bytes=encoded_bytes,
        free_bytes=speed.free_bytes,
        forward_seconds=forward_seconds,
        write_seconds=write_seconds,
        audit_seconds=audit_cost / speed.model.mean,
        seconds=seconds(speed.model.mean),
        seconds_span=(seconds(speed.model.alone * DRIFT), seconds(speed.model.lowest / DRIFT)),
        bottleneck=bottleneck if plan.items else "nothing",
    )


def audit_cost_of(plan: ExtractPlan) -> int:
    """What the audit costs, in tokens: a forward for each row and each lone token."""
    return plan.audit_rows * (plan.layout.num_positions + 2 * STEP_OVERHEAD)


def encoded_bytes_of(layout: StoreLayout, item: WorkItem) -> int:
    """Bytes of an item's missing shards: rows that equal the one above cost next to nothing, all others are incompressible."""
    stored, positions = (len(layout.positions), layout.num_positions) if item.level == "macro" else (1, 1)
    row_bytes = layout.hidden_size * ITEM_BYTES[layout.stored_dtype]
    num_states = stored * sum(shard.stop - shard.start for shard in item.shards)
    total = len(item.shards) * positions * layout.num_layers * _INDEX_BYTES
    for layer in layout.layers:
        distinct = item.distinct_tokens if layer == 0 else item.distinct_prefixes
        total += row_bytes * distinct + row_bytes * (num_states - distinct) // _MATCH_BYTES
        total += _CHUNK_BYTES * stored * len(item.shards)
    return total


def require_room(forecast: Forecast, address: str, freed_bytes: int = 0) -> None:
    """Raise `DiskSpaceError` unless what is missing fits on the disk, once ``freed_bytes`` of what it replaces are gone."""
    if forecast.free_bytes is not None and forecast.encoded_bytes > forecast.free_bytes + freed_bytes:
        raise DiskSpaceError(
            f"{address}: about {forecast.encoded_bytes / 1e9:.2f} GB are to be written and {forecast.free_bytes / 1e9:.2f} GB "
            "are free; make room, take another disk, or store fewer layers, positions or sequences (--layers, --positions, "
            "--num-sequences)"
        )
