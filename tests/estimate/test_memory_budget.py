"""--memory: what it takes, what it refuses, that it changes no value, and that states then lie on disk."""

import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from known_store import NAME, random_tokens, write_store

from ie_store.errors import DiskSpaceError, InputError
from ie_store.estimate import memory, memory_budget, stored_rows
from ie_store.estimate.batch_states import ItemShape
from ie_store.estimate.check import check
from ie_store.estimate.disk_rows import DiskRows
from ie_store.estimate.exact.prefix_index import corpus_bytes
from ie_store.estimate.profile import profile
from ie_store.estimate.run import estimate, plan_estimate, run_estimate
from ie_store.estimators import estimator_spec, resolve
from ie_store.fields import parse_size
from ie_store.options import CheckSpec, EstimateSpec, ProfileSpec

NOISE, CCA = estimator_spec("noise", max_draws=512), estimator_spec("cca")
DECODE, MINE = estimator_spec("decode"), estimator_spec("mine", steps=20)


def spec(store, *estimators, **options):
    return EstimateSpec(store=store, name=NAME, estimators=estimators, device="cpu", **options)


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "store", random_tokens(400, kinds=5), dtype="float16")


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("1GiB", 2**30),
        ("1.5GB", 1_500_000_000),
        ("800MB", 8 * 10**8),
        ("2 KiB", 2048),
        ("512", 512),
        ("3T", 3 * 10**12),
        ("7kB", 7000),
    ],
)
def test_sizes(text, num_bytes):
    assert parse_size("memory", text) == num_bytes


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "1XB", "one", "0.1", "1iB", "1e9"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InputError, match="it must be a size with its unit"):
        EstimateSpec(memory=text)


@pytest.mark.slow
def test_no_value_depends_on_the_memory(store, tmp_path, monkeypatch):
    """All rows in memory, and all on disk: the same to the last bit."""
    options = {"blocks": "1"}
    whole = estimate(spec(store, NOISE, CCA, DECODE, MINE, **options))
    kinds = []
    real = stored_rows.Room.make

    def making(room, *arguments):
        kinds.append(type(made := real(room, *arguments)))
        return made

    monkeypatch.setattr(stored_rows.Room, "make", making)
    monkeypatch.setattr(stored_rows.Room, "_take", lambda room, num_bytes: False)
    shutil.rmtree(tmp_path / "store" / NAME / "estimates")
    assert estimate(spec(store, NOISE, CCA, DECODE, MINE, memory="700MB", **options)) == whole
    assert set(kinds) == {DiskRows}


def test_a_memory_that_is_too_small_is_refused_with_one_that_would_do(store):
    with pytest.raises(InputError, match=r"cca needs at least [\d,]+ bytes of memory for m.*, and may take 1,000,000") as found:
        estimate(spec(store, CCA, memory="1MB"))
    enough = re.search(r"--memory (\w+)", str(found.value))[1]
    assert len(estimate(spec(store, CCA, memory=enough))) == 4


@pytest.mark.parametrize(
    ("name", "columns", "held"), [("decode", 576, 276e6), ("decode", 1600, 529e6), ("cca", 576, 204e6), ("cca", 1600, 564e6)]
)
def test_what_was_measured_to_be_held_is_asked_for(name, columns, held):
    """Peaks beside imports of whole runs of 303,600 rows, given little more than they ask (``benchmarks/estimate_memory.py``)."""
    num_rows, num_positions, num_tokens = 303_600, 8, 26
    shape = ItemShape(
        num_rows=num_rows,
        num_sequences=num_rows,
        num_positions=num_positions,
        num_tokens=num_tokens,
        hidden_size=columns,
        num_blocks=1,
        threads=2,
    )
    spec = estimator_spec(name)
    (_, corpus), reading = corpus_bytes(num_rows, num_positions, num_tokens), 2 * 4096 * 2 * columns
    least = memory_budget.LOADED_BYTES + corpus + reading + resolve(spec.row.needs)(spec, shape).working_bytes
    assert held <= least < 1.2 * held


def test_the_published_procedure_says_what_a_full_batch_needs(store):
    rows = len({tuple(row) for row in random_tokens(400, kinds=5).tolist()})
    least = 4 * (rows + 400) * (2 * 6 + 2 * 1536)
    with pytest.raises(InputError, match="mine-paper needs at least") as found:
        estimate(spec(store, estimator_spec("mine-paper"), memory="70MB", yes=True))
    needed = int(re.search(r"least ([\d,]+) bytes", str(found.value))[1].replace(",", ""))
    assert least < needed < 70e6 + 2 * least


def test_states_beyond_memory_are_said_in_the_plan_and_need_a_disk(store, monkeypatch):
    plan, forecast = plan_estimate(spec(store, CCA, memory="700MB"))
    assert (forecast.most_bytes, forecast.disk_bytes) == (700_000_000, 0)
    assert plan.as_json() == plan_estimate(spec(store, CCA))[0].as_json()
    monkeypatch.setattr(memory_budget, "_slab_bytes", lambda slab, layout: 10**9)
    assert plan_estimate(spec(store, CCA, memory="700MB"))[1].disk_bytes >= 2 * 10**9
    monkeypatch.setattr(memory_budget, "disk_usage", lambda folder: SimpleNamespace(free=12345))
    with pytest.raises(DiskSpaceError, match=r"states of up to 9,000,000,000 bytes.*has 12,345 bytes left.*TMPDIR.*--memory"):
        run_estimate(spec(store, CCA, memory="700MB"))


@pytest.mark.parametrize(
    ("run", "asked"),
    [
        (profile, lambda store, memory: ProfileSpec(store=store, name=NAME, memory=memory)),
        (check, lambda store, memory: CheckSpec(store=store, name=NAME, estimators=(CCA,), blocks="1", rows=200, memory=memory)),
    ],
    ids=["profile", "check"],
)
def test_profiles_and_checks_keep_to_the_memory_and_say_how_much_would_do(run, asked, tmp_path, monkeypatch):
    tokens = random_tokens(1600, positions=2, kinds=60)
    stores = [write_store(tmp_path / name, tokens, dtype="float16") for name in ("one", "other")]
    whole = run(asked(stores[0], None))
    with pytest.raises(
        InputError, match=r"needs at least [\d,]+ bytes of memory for .*, and may take 1,000,000; .*--rows"
    ) as found:
        run(asked(stores[1], "1MB"))
    monkeypatch.setattr(stored_rows.Room, "_take", lambda room, num_bytes: False)
    enough = re.search(r"--memory (\w+)", str(found.value))[1]
    np.testing.assert_equal(run(asked(stores[1], enough)), whole)


def test_control_groups_limit_the_machine(tmp_path):
    (tmp_path / "groups").write_text("0::/a/b\n5:cpu,memory:/c\n3:cpu:/x\n")
    for folder, name, text in (
        ("", "memory.max", "900"), ("a", "memory.max", "700"), ("a/b", "memory.max", "max"), ("x", "memory.max", "1"),
        ("memory/c", "memory.limit_in_bytes", "800"), ("memory", "memory.limit_in_bytes", "9223372036854771712"),
    ):  # fmt: skip
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text(text + "\n")
    assert min(memory.group_limits(str(tmp_path / "groups"), str(tmp_path))) == 700
    assert memory.group_limits(str(tmp_path / "none"), str(tmp_path)) == []


def test_a_quarter_of_the_machine_is_taken_by_default(monkeypatch):
    monkeypatch.setattr(memory_budget, "machine_bytes", lambda: 4000)
    assert memory_budget.default_bytes(torch.device("cpu")) == 1000
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (700, 1200))
    assert memory_budget.default_bytes(torch.device("cuda")) == 600


def test_workers_are_told_of_a_memory_that_is_enough_for_all_of_them(store):
    with pytest.raises(InputError, match=r"may take 500,000 in each of 2 workers; give --memory .*, fewer --workers") as found:
        estimate(spec(store, CCA, memory="1MB", workers=2))
    enough = int(re.search(r"--memory (\d+)MB", str(found.value))[1])
    alone = int(re.search(r"least ([\d,]+) bytes", str(found.value))[1].replace(",", ""))
    assert 2 * alone <= enough * 10**6 < 2 * alone + 10**6
