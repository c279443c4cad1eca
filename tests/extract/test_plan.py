"""What is planned is what is executed, and a forecast is arithmetic over a plan."""

import itertools
import os
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import BLOCKS, HIDDEN, prefix_rows

from ie_store.extract.engine import Engine
from ie_store.extract.forecast import DRIFT, encoded_bytes_of, make_forecast
from ie_store.extract.forecast_speed import ModelSpeed, Speed, Timing, measure_disk, summarise
from ie_store.extract.forward.batches import Batch
from ie_store.extract.forward.prefix_forward import TileForward
from ie_store.extract.forward.tiles import STEP_OVERHEAD, plan_tiles
from ie_store.extract.plan import ExtractPlan
from ie_store.extract.run import extract, plan_extract
from ie_store.extract.work import WorkItem
from ie_store.options import ExtractSpec

MakeSpec = Callable[..., ExtractSpec]
Forward = tuple[int, int, int]
"""First position, position after the last, nodes."""


def planned_forwards(item: WorkItem) -> list[Forward]:
    """The forwards of an item, as its plan has them: nodes of a segment in equal parts."""
    found = []
    for tile in item.tiles:
        for segment in tile.segments:
            parts = np.array_split(np.arange(segment.num_nodes), segment.num_batches)
            found += sorted((segment.start, segment.stop, len(part)) for part in parts)
    return found


def in_segments(forwards: list[Forward]) -> list[Forward]:
    """Neighbouring forwards over the same positions, the smaller ones first."""
    found: list[Forward] = []
    start = 0
    for index in range(1, len(forwards) + 1):
        if index == len(forwards) or forwards[index][:2] != forwards[start][:2]:
            found += sorted(forwards[start:index])
            start = index
    return found


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[WorkItem, list[Forward]]]:
    """Every item that is computed, with the forwards that reach the model."""
    seen: list[tuple[WorkItem, list[Forward]]] = []
    fill, run = Engine.fill, TileForward.run
    filling: list[int] = []

    def watched_fill(self: Engine, item: WorkItem, *arguments: Any) -> Any:
        seen.append((item, []))
        filling.append(1)
        try:
            return fill(self, item, *arguments)
        finally:
            filling.pop()

    def watched_run(self: TileForward, batch: Batch, on_layer: Any) -> None:
        if filling:
            seen[-1][1].append((batch.start, batch.stop, len(batch.tokens)))
        run(self, batch, on_layer)

    monkeypatch.setattr(Engine, "fill", watched_fill)
    monkeypatch.setattr(TileForward, "run", watched_run)
    return seen


@pytest.mark.parametrize("cache_bytes", [2**30, 200_000])
def test_what_is_executed_is_what_was_planned(
    make_spec: MakeSpec,
    executed: list[tuple[WorkItem, list[Forward]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cache_bytes: int,
) -> None:
    monkeypatch.setattr("ie_store.extract.engine.CACHE_BYTES", {False: cache_bytes})
    np.save(tmp_path / "rows.npy", prefix_rows(num_rows=300))
    told: list[ExtractPlan] = []
    spec = make_spec(batch_size=7)
    foreseen, _ = plan_extract(spec)
    report = extract(spec, on_plan=lambda plan, forecast: told.append(plan))
    assert told[0] is report.plan
    assert foreseen == report.plan
    assert [id(item) for item, _ in executed] == [id(item) for item in report.plan.items]
    for item, forwards in executed:
        assert in_segments(forwards) == in_segments(planned_forwards(item))
        assert len(forwards) == item.num_batches
        assert sum((stop - start) * nodes for start, stop, nodes in forwards) == item.num_tokens
    assert (max(len(item.tiles) for item in report.plan.items) > 1) == (cache_bytes < 2**30)


def test_a_plan_cannot_be_changed_and_a_finished_dataset_has_an_empty_one(make_spec: MakeSpec) -> None:
    spec = make_spec()
    report = extract(spec)
    with pytest.raises(FrozenInstanceError):
        report.plan.items = ()
    plan, forecast = plan_extract(spec)
    assert (plan.items, plan.missing_shards, plan.audit_rows) == ((), 0, 0)
    assert (forecast.tokens, forecast.encoded_bytes, forecast.seconds, forecast.bottleneck) == (0, 0, 0.0, "nothing")


def test_an_unfinished_audit_is_planned(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec()
    monkeypatch.setattr("ie_store.extract.perform.audit", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extract(spec)
    monkeypatch.undo()
    plan, _ = plan_extract(spec)
    assert (plan.items, plan.audit_rows) == ((), spec.audit_rows)
    assert extract(spec).audit["rows"] == spec.audit_rows


def test_a_forecast_is_arithmetic_over_a_plan_and_a_speed(make_spec: MakeSpec) -> None:
    plan, _ = plan_extract(make_spec(dtype="float32"))
    model = ModelSpeed(mean=1000.0, lowest=500.0, alone=4000.0)
    fast = make_forecast(plan, Speed(model=model, disk_bytes_per_second=None, free_bytes=None))
    slow_disk = make_forecast(plan, Speed(model=model, disk_bytes_per_second=1.0, free_bytes=5))
    assert fast.forward_seconds == (plan.tokens_computed + STEP_OVERHEAD * plan.num_batches) / 1000
    assert (fast.write_seconds, fast.bottleneck) == (None, "model")
    assert (slow_disk.write_seconds, slow_disk.bottleneck) == (slow_disk.encoded_bytes, "disk")
    assert slow_disk.seconds == slow_disk.encoded_bytes + slow_disk.audit_seconds
    assert fast.seconds_span == pytest.approx((fast.seconds / (4 * DRIFT), 2 * DRIFT * fast.seconds), rel=1e-12)
    assert slow_disk.seconds_span[0] == pytest.approx(slow_disk.encoded_bytes + slow_disk.audit_seconds / (4 * DRIFT), rel=1e-12)
    assert asdict(fast).items() >= {"tokens": plan.tokens_computed, "encoded_bytes": slow_disk.encoded_bytes}.items()


def test_a_speed_spans_from_the_lowest_to_that_of_an_idle_machine() -> None:
    """Two threads that got half of a processor each: with the machine to themselves they are four times as fast."""
    timings = [Timing(100, wall=2.0, processor=1.0), Timing(100, wall=4.0, processor=2.0)]
    speed = summarise(timings, num_threads=2)
    assert (speed.mean, speed.lowest, speed.alone) == (200 / 6, 25.0, 200 * 2 / 3.0)
    assert summarise(timings, num_threads=None).alone == 50.0
    assert summarise([Timing(100, wall=1.0, processor=4.0)], num_threads=2).alone == 100.0


def test_forecast_bytes_count_states_that_differ_from_the_row_above(make_spec: MakeSpec) -> None:
    plan, _ = plan_extract(make_spec(dtype="float32"))
    macro = next(item for item in plan.items if item.level == "macro")
    rows = sorted(map(tuple, prefix_rows().tolist()))
    prefixes = sum(len({row[: position + 1] for row in rows}) for position in range(9))
    tokens = sum(1 + sum(a[p] != b[p] for a, b in itertools.pairwise(rows)) for p in range(9))
    assert (macro.distinct_tokens, macro.distinct_prefixes) == (tokens, prefixes)
    states = HIDDEN * 4 * (tokens + BLOCKS * prefixes)
    assert (
        states < encoded_bytes_of(plan.layout, macro) < states + HIDDEN * 4 * 9 * 24 * (BLOCKS + 1) / 20 + 100 * 9 * (BLOCKS + 1)
    )


def test_a_plan_keeps_no_arrays_and_grows_with_groups_alone() -> None:
    """The batches of a long corpus are larger than the corpus itself; the plan of a group is a few whole numbers."""
    tokens = np.random.default_rng(0).integers(0, 3, (4096, 12)).astype(np.int32)
    tokens = tokens[np.lexsort(tokens.T[::-1])]
    (tile,) = plan_tiles(tokens, 40, sharing=True, slots_limit=10**9)
    assert len(repr(tile)) < 200 * (1 + len(tile.segments))
    assert all(isinstance(value, int) for segment in tile.segments for value in vars(segment).values())


@pytest.mark.parametrize(("enough", "written"), [(0, 2**20), (3 * 2**20, 3 * 2**20), (10**12, 2**26)])
def test_the_disk_is_probed_with_no_more_than_the_run_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enough: int, written: int
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    assert measure_disk(str(tmp_path / "store"), enough)
    assert sizes == [written]
    assert not list(tmp_path.iterdir())
