"""Work that is spread over processes: the same values as without, whoever is killed, and the same messages."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import psutil
import pytest
from known_store import NAME, random_tokens, write_store
from unreliable import Future, UnreliableCrew

from ie_store.cluster import crew as crews
from ie_store.cluster import hand_out
from ie_store.cluster.crew import open_crew
from ie_store.errors import ClusterError, InputError, NonFiniteError
from ie_store.estimate.run import estimate, run_estimate
from ie_store.estimators import estimator_spec
from ie_store.options import EstimateSpec

ESTIMATORS = (estimator_spec("noise"), estimator_spec("cca"))
KILLS = 20
SCHEDULER_GONE = 3
CLIENT = f"""
import json, sys
import ie_store.estimate.run as module
from ie_store.errors import ClusterError
from ie_store.estimators import estimator_spec
from ie_store.options import EstimateSpec
if __name__ == "__main__":
    module.BATCH_BYTES = {{"cpu": 1}}
    store, name, crew = sys.argv[1:]
    estimators = (estimator_spec("noise"), estimator_spec("cca"))
    spec = EstimateSpec(store=store, name=name, estimators=estimators, positions="all", **json.loads(crew))
    try:
        module.estimate(spec)
    except ClusterError as error:
        print(error, file=sys.stderr)
        sys.exit({SCHEDULER_GONE})
"""


def records(store):
    """What every record says, but for what tells runs apart."""
    found = {}
    for path in sorted(Path(store, NAME, "estimates").glob("*/position/records/*.json")):
        document = json.loads(path.read_bytes())
        pieces = [piece for piece in document["pieces"] if not piece["variable"].endswith("wall_seconds")]
        found[f"{path.parts[-4]}/{path.name}"] = document | {"pieces": pieces, "session": None, "digest": None}
    return found


@pytest.fixture
def one_problem_an_item(monkeypatch):
    monkeypatch.setattr("ie_store.estimate.run.BATCH_BYTES", {"cpu": 1})
    monkeypatch.setattr("os.cpu_count", lambda: 2)  # a thread for each of two workers, as the tests have


def spec(store, **options):
    return EstimateSpec(store=store, name=NAME, estimators=ESTIMATORS, positions="all", **options)


@pytest.mark.slow
def test_workers_write_what_one_process_writes_and_tell_what_it_tells(tmp_path, one_problem_an_item):
    tokens = random_tokens(150)
    alone, shared = (write_store(tmp_path / name, tokens) for name in ("alone", "shared"))
    wanted, told = estimate(spec(alone)), []
    report = run_estimate(spec(shared, workers=2), told.append)
    assert report.complete
    assert records(shared) == records(alone)
    assert report.emergences == wanted
    whole = [progress for progress in told if progress.is_whole_run]
    assert [progress.done for progress in whole] == list(range(len(whole)))
    assert {one.estimator for progress in whole for one in progress.found.values()} == {"noise", "cca"}
    sessions = {json.loads(path.read_bytes())["session"]["threads"] for path in Path(shared).rglob("*blocks*.json")}
    assert sessions == {1}


@pytest.mark.slow
def test_what_an_item_meets_is_told_as_without_workers(tmp_path):
    def spoil(macro, micro):
        macro[1, 2, 77, 3] = np.nan

    store = write_store(tmp_path / "store", random_tokens(150), change=spoil)
    with pytest.raises(NonFiniteError, match=r"layer 1, position 2.*row 77"):
        estimate(spec(store, workers=1))


@pytest.fixture
def started():
    """Starts programs of Dask, and ends what still runs."""
    processes = []

    def start(program, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments, "--no-dashboard"]
        processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def start_scheduler(start, file):
    """A scheduler that tells its address in ``file``."""
    scheduler = start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
    end = time.monotonic() + 120
    while not file.exists():
        assert time.monotonic() < end
        assert scheduler.poll() is None
        time.sleep(0.05)
    return scheduler


def start_worker(start, file):
    """A worker of the scheduler that is told of in ``file``."""
    return start("worker", "--scheduler-file", str(file), "--nthreads", "1", "--memory-limit", "0", "--no-nanny")


def scheduler_with_a_worker(start, file):
    """A scheduler, and its address."""
    scheduler = start_scheduler(start, file)
    start_worker(start, file)
    return scheduler, json.loads(file.read_text())["address"]


class OwnCluster:
    """What ``--workers 2`` starts: gone with the client, scheduler and all."""

    options: ClassVar = {"workers": 2}
    scheduler_was_killed = False

    def keep_up(self):
        """It starts its workers itself."""

    def workers(self, client):
        """Processes of a client that work: they have loaded what an errand needs, or are about to."""
        with_errors = []
        for child in psutil.Process(client.pid).children():
            try:
                with_errors += [child] if "spawn_main" in " ".join(child.cmdline()) else []
            except psutil.Error:
                continue
        return with_errors

    def kill_something(self, client, chance):
        """One worker, both at once, or the client; how many were killed."""
        victims = self.workers(client)
        kind = chance.random()
        if kind < 0.2:
            client.kill()
            return 1
        chosen = victims if kind < 0.5 else chance.sample(victims, min(1, len(victims)))
        killed = 0
        for victim in chosen:
            try:
                os.kill(victim.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed += 1
        return killed


class SomebodysCluster:
    """A scheduler and two workers that others keep up, as a batch system does."""

    def __init__(self, start, folder):
        self.start, self.folder = start, folder
        self.scheduler, self.at_work, self.num_schedulers = None, [], 0
        self.scheduler_was_killed = False

    @property
    def file(self):
        """Where the present scheduler says its address."""
        return self.folder / f"scheduler{self.num_schedulers}.json"

    def keep_up(self):
        """Start what is missing."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            for worker in self.at_work:
                worker.kill()
            self.num_schedulers, self.at_work = self.num_schedulers + 1, []
            self.scheduler = start_scheduler(self.start, self.file)
            self.scheduler_was_killed = False
        self.at_work = [worker for worker in self.at_work if worker.poll() is None]
        self.at_work += [start_worker(self.start, self.file) for _ in range(2 - len(self.at_work))]

    @property
    def options(self):
        """The present scheduler."""
        return {"scheduler": json.loads(self.file.read_text())["address"]}

    def kill_something(self, client, chance):
        """A worker, both, the scheduler, or the client; how many were killed."""
        alive = [worker for worker in self.at_work if worker.poll() is None]
        kind = chance.random()
        if kind < 0.2:
            victims = [client]
        elif kind < 0.5:
            victims, self.scheduler_was_killed = [self.scheduler], True
        else:
            victims = alive if kind < 0.65 else chance.sample(alive, min(1, len(alive)))
        victims = [victim for victim in victims if victim.poll() is None]
        for victim in victims:
            victim.kill()
            victim.wait()
        return len(victims)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("whose", ["own", "somebody's"])
def test_killed_at_random_nothing_is_lost_doubled_or_different(tmp_path, one_problem_an_item, started, whose):
    tokens, chance = random_tokens(150), random.Random(0)
    cluster = OwnCluster() if whose == "own" else SomebodysCluster(started, tmp_path)
    whole = write_store(tmp_path / "whole", tokens, layers=8)
    estimate(spec(whole))
    wanted, kills = records(whole), 0
    for number in range(KILLS):
        store = write_store(tmp_path / f"killed{number}", tokens, layers=8)
        kills += run_and_kill(store, cluster, chance, KILLS - kills)
        assert records(store) == wanted
        if kills >= KILLS:
            break
    assert kills >= KILLS
    assert whose == "own" or cluster.num_schedulers > 1


def run_and_kill(store, cluster, chance, most):
    """Run to the end, killing on the way; kills."""
    kills = 0
    while True:
        cluster.keep_up()
        command = [sys.executable, "-c", CLIENT, store, NAME, json.dumps(cluster.options)]
        client = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        known = len(records(store))
        while client.poll() is None:
            if kills < most and len(list(Path(store).rglob("*blocks*.json"))) > known:
                time.sleep(chance.uniform(0, 0.1))
                known = len(list(Path(store).rglob("*blocks*.json")))
                kills += cluster.kill_something(client, chance)
                if not cluster.scheduler_was_killed:
                    cluster.keep_up()
            time.sleep(0.01)
        said = client.communicate(timeout=60)[1]
        if client.returncode == 0:
            return kills
        assert client.returncode == -signal.SIGKILL or (client.returncode == SCHEDULER_GONE and cluster.scheduler_was_killed), (
            said
        )


@pytest.mark.slow
def test_a_scheduler_of_somebody_s_may_end_and_another_goes_on(tmp_path, one_problem_an_item, started):
    tokens = random_tokens(150)
    alone, shared = (write_store(tmp_path / name, tokens) for name in ("alone", "shared"))
    estimate(spec(alone))
    scheduler, address = scheduler_with_a_worker(started, tmp_path / "first.json")

    def kill_after_some(progress):
        if progress.is_whole_run and progress.done == 5:
            scheduler.kill()
            scheduler.wait()

    with pytest.raises(ClusterError, match=r"scheduler .* is gone; what was finished is kept"):
        estimate(spec(shared, scheduler=address), kill_after_some)
    assert 0 < len(records(shared)) < len(records(alone))
    _, address = scheduler_with_a_worker(started, tmp_path / "second.json")
    estimate(spec(shared, scheduler=address))
    assert records(shared) == records(alone)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_whatever_becomes_of_errands_every_item_ends_with_its_one_record(tmp_path, one_problem_an_item, monkeypatch, seed):
    pytest.importorskip("distributed")
    tokens = random_tokens(60)
    alone, shared = (write_store(tmp_path / name, tokens) for name in ("alone", "shared"))
    estimate(spec(alone))
    crew = UnreliableCrew(random.Random(seed))
    monkeypatch.setattr("ie_store.estimate.run.open_crew", lambda workers, scheduler: crew)
    monkeypatch.setattr(hand_out, "POLL_SECONDS", 0.0)
    told = []
    assert run_estimate(spec(shared, workers=2), told.append).complete
    assert records(shared) == records(alone)
    assert [p.done for p in told if p.is_whole_run] == list(range(3 * 2 * (3 + 3) + 1))


def test_an_item_that_loses_every_worker_ends_the_run(tmp_path, monkeypatch):
    store = write_store(tmp_path / "store", random_tokens(60))
    crew = UnreliableCrew(random.Random(0))
    crew.send = lambda errand, worker, name: Future("lost")
    monkeypatch.setattr("ie_store.estimate.run.open_crew", lambda workers, scheduler: crew)
    monkeypatch.setattr(hand_out, "POLL_SECONDS", 0.0)
    with pytest.raises(ClusterError, match=r"20 workers ended while they worked on .*memory.*same command goes on"):
        estimate(spec(store, workers=2))


def test_a_cluster_without_workers_is_started_anew(tmp_path, monkeypatch):
    store = write_store(tmp_path / "store", random_tokens(60))
    crew = UnreliableCrew(random.Random(0))
    crew._alive = {}
    crew.threads = lambda: dict(crew._alive)
    monkeypatch.setattr("ie_store.estimate.run.open_crew", lambda workers, scheduler: crew)
    monkeypatch.setattr(hand_out, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(hand_out, "LONELY_SECONDS", 0.0)
    assert run_estimate(spec(store, blocks="0", workers=2, time_limit="10h")).num_done > 0 or crew.restarts
    assert crew.restarts >= 1


def test_without_distributed_it_is_said_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    store = write_store(tmp_path / "store", random_tokens(60))
    with pytest.raises(InputError, match=r"pip install 'ie-store\[cluster\]'"):
        estimate(spec(store, workers=2))
    assert open_crew(0, None) is None


def test_a_scheduler_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(crews, "CONNECT_SECONDS", 0.5)
    store = write_store(tmp_path / "store", random_tokens(60))
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        estimate(spec(store, scheduler="tcp://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("options", "message"), [({"workers": -1}, "at least 0"), ({"workers": 2, "scheduler": "x"}, "one of them")]
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        spec("s", **options)
