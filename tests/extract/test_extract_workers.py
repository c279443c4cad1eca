"""An extraction that is spread over processes: the same bytes as without, whoever is lost, and the same messages."""

import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tiny_models import prefix_rows
from unreliable import Future, UnreliableCrew

import ie_store.extract.prepare
from ie_store.cluster import crew as crews
from ie_store.cluster import hand_out
from ie_store.errors import ClusterError, IdentityError, InputError, NonFiniteError
from ie_store.extract.layout import choose_layout
from ie_store.extract.run import extract
from ie_store.extract.shard_errand import ShardErrand
from ie_store.options import ExtractSpec, Progress
from ie_store.specs import StoreLayout
from ie_store.store.open import open_reader

MakeSpec = Callable[..., ExtractSpec]
NAME = "llama/rows"


@pytest.fixture(autouse=True)
def many_items(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Shards of 4 rows, each an item of its own; a thread for each of two workers, as the tests have."""

    def chosen(*arguments: Any) -> StoreLayout:
        return replace(choose_layout(*arguments), rows_per_shard=4, shards_per_group=1)

    monkeypatch.setattr(ie_store.extract.prepare, "choose_layout", chosen)
    monkeypatch.setattr("os.cpu_count", lambda: 2)


def states_of(store: Path | str) -> dict[str, bytes]:
    """Every file of states, unfinished ones too, and of the ledger's checksums."""
    folders = ("macro", "micro", "ledger/macro", "ledger/micro")
    paths = [path for folder in folders for path in Path(store, NAME, folder, "c").rglob("*") if path.is_file()]
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(paths)}


@pytest.mark.parametrize("seed", range(3))
def test_whatever_becomes_of_errands_the_states_are_those_of_one_process(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    pytest.importorskip("distributed")
    alone, shared = make_spec(store=str(tmp_path / "alone")), make_spec(workers=2)
    whole = extract(alone)
    crew = UnreliableCrew(random.Random(seed))
    monkeypatch.setattr("ie_store.extract.perform.open_crew", lambda workers, scheduler: crew)
    monkeypatch.setattr(hand_out, "POLL_SECONDS", 0.0)
    told: list[Progress] = []
    report = extract(shared, told.append)
    assert open_reader(shared.store, NAME).complete
    assert states_of(shared.store) == states_of(alone.store)
    assert report.num_bytes == whole.num_bytes
    done = [progress.done for progress in told if progress.is_whole_run]
    assert done == sorted(done)
    assert done[-1] == next(progress.total for progress in told if progress.is_whole_run)


def test_what_an_item_meets_is_told_and_marks_the_dataset(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    crew = UnreliableCrew(random.Random(0))
    crew.send = lambda errand, worker, name: Future("finished", NonFiniteError("layer 2 of source row 7 is not finite"))
    monkeypatch.setattr("ie_store.extract.perform.open_crew", lambda workers, scheduler: crew)
    monkeypatch.setattr(hand_out, "POLL_SECONDS", 0.0)
    spec = make_spec(workers=2)
    with pytest.raises(NonFiniteError, match="layer 2 of source row 7"):
        extract(spec)
    assert "source row 7" in str(open_reader(spec.store, NAME).attributes.incomplete_reason)


def test_a_worker_that_finds_another_model_under_the_name_writes_nothing(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    crew = UnreliableCrew(random.Random(0))
    send = crew.send

    def elsewhere(errand: ShardErrand, worker: str, name: str) -> Any:
        met = replace(errand, spec=replace(errand.spec, weights="random")).run(lambda: None)
        assert met is not None
        crew.send = send
        return Future("finished", met)

    crew.send, crew.threads = elsewhere, lambda: {"a": 1}
    monkeypatch.setattr("ie_store.extract.perform.open_crew", lambda workers, scheduler: crew)
    spec = make_spec(workers=2, name=NAME)
    with pytest.raises(IdentityError, match="was made from something else"):
        extract(spec)
    assert states_of(spec.store) == {}


SMALL_SHARDS_IN_WORKERS = """
import ie_store.extract.prepare as module
from dataclasses import replace
from ie_store.extract.layout import choose_layout
module.choose_layout = lambda *arguments: replace(choose_layout(*arguments), rows_per_shard=4, shards_per_group=1)
"""


WRITES_WAIT_FOR_THE_NEXT_ITEM = """
from threading import Event
from ie_store.extract.engine import Engine
from ie_store.store.dataset.shard_writer import ShardWriter
if Engine.fill.__name__ == "fill":  # this is run twice
    fill, write_shard, begun = Engine.fill, ShardWriter.write_shard, {}
def fills(engine, item, *arguments):
    if item.level == "macro":
        begun.setdefault(item.start, Event()).set()
    return fill(engine, item, *arguments)
def writes(writer, shard, states):
    following = shard.stop if shard.level == "macro" else 0
    if following < writer.layout.num_sequences and not begun.setdefault(following, Event()).wait(60):
        raise RuntimeError(f"no other item was begun while {shard} was written")
    return write_shard(writer, shard, states)
Engine.fill, ShardWriter.write_shard = fills, writes
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_writes_an_item_while_it_computes_the_next(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    more = SMALL_SHARDS_IN_WORKERS + WRITES_WAIT_FOR_THE_NEXT_ITEM
    monkeypatch.setattr(crews, "_LEAVE_INTERRUPTS", crews._LEAVE_INTERRUPTS + more)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    spec = make_spec(workers=1)
    assert extract(spec).num_shards > 3
    assert open_reader(spec.store, NAME).complete


def test_an_errand_that_stepped_aside_has_written_nothing_and_lets_another_compute(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    crew, errands, seen = UnreliableCrew(random.Random(0)), [], []
    monkeypatch.setattr("ie_store.extract.perform.open_crew", lambda workers, scheduler: crew)

    def send(errand: ShardErrand, worker: str, name: str) -> Future:
        errands.append(errand)
        if len(errands) == 1:
            return Future("pending")
        first, second = errands

        def meanwhile() -> None:
            seen.append(states_of(first.spec.store))
            assert second.run(lambda: None) is None
            seen.append(states_of(first.spec.store))

        assert first.run(meanwhile) is None
        seen.append(states_of(first.spec.store))
        raise ClusterError("seen enough")

    crew.send, crew.threads = send, lambda: {"a": 1, "b": 1}
    with pytest.raises(ClusterError, match="seen enough"):
        extract(make_spec(workers=2))
    before, between, after = seen
    assert before == {}
    assert {} != between.items() < after.items()


def kill_a_worker() -> None:
    workers = [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
    os.kill(workers[0].pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_processes_of_which_one_is_killed_write_what_one_process_writes(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "_LEAVE_INTERRUPTS", crews._LEAVE_INTERRUPTS + SMALL_SHARDS_IN_WORKERS)
    np.save(tmp_path / "many.npy", prefix_rows(num_rows=200))
    more = {"corpus": f"tokens:{tmp_path / 'many.npy'}", "name": NAME}
    alone, shared = make_spec(store=str(tmp_path / "alone"), **more), make_spec(workers=2, **more)
    extract(alone)
    killed: list[int] = []

    def kill_once(progress: Progress) -> None:
        if progress.stage == "macro states" and progress.done > 8 and not killed:
            killed.append(progress.done)
            kill_a_worker()

    report = extract(shared, kill_once)
    assert killed
    assert killed[0] < report.num_rows
    assert states_of(shared.store) == states_of(alone.store)
    assert extract(shared).reused


def test_options_that_cannot_be(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="at least 0"):
        make_spec(workers=-1)
    with pytest.raises(InputError, match="one of them"):
        make_spec(workers=2, scheduler="tcp://x:1")
    monkeypatch.setattr(crews, "CONNECT_SECONDS", 0.5)
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        extract(make_spec(scheduler="tcp://127.0.0.1:9"))
