"""Several estimators on one dataset at the same time, in processes of their own, end with what they give one after another."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import xarray as xr
from estimating import Estimating
from known_store import NAME, random_tokens, write_store

from ie_store.errors import BusyError
from ie_store.estimate.run import estimate
from ie_store.estimators import estimator_spec
from ie_store.options import EstimateSpec
from ie_store.store.dataset.handle import open_dataset
from ie_store.store.files.open import open_storage
from ie_store.store.results.group import results_key
from ie_store.store.results.show import show_results
from ie_store.store.results.writer import open_results
from ie_store.store.verify import verify_dataset

NOISE = estimator_spec("noise")
MINE = estimator_spec("mine", steps=30)
EXACT = estimator_spec("exact")
TOKENS = random_tokens(150)

pytestmark = pytest.mark.slow


def collide(macro, micro):
    """Different prefixes share a state at positions 1 and 2: exact values then carry flags."""
    rows = [tuple(row) for row in TOKENS.tolist()]
    for position, layer in ((1, 1), (2, 2)):
        other = next(row for row in rows if row[: position + 1] != rows[0][: position + 1])
        for i, row in enumerate(rows):
            if row[: position + 1] == other[: position + 1]:
                macro[layer, position, i] = macro[layer, position, 0]


@pytest.fixture
def new_store(tmp_path):
    return lambda name: write_store(tmp_path / name, TOKENS, change=collide)


def values(store, spec):
    """The arrays of a results group and its flags, without what differs from run to run."""
    group = xr.open_zarr(f"{store}/{results_key(NAME, spec)}", consolidated=False).load()
    return group.drop_vars([name for name in group if name.endswith(("_seconds", "_session"))]), group.attrs["flags"]


def require_equal(store, other, *specs):
    for spec in specs:
        (ours, flags), (theirs, their_flags) = values(store, spec), values(other, spec)
        xr.testing.assert_equal(ours, theirs)
        assert flags == their_flags


def test_two_estimators_at_once_end_like_one_after_another(new_store):
    one = new_store("one")
    for spec, positions in ((MINE, "1"), (NOISE, "2")):
        estimate(EstimateSpec(store=one, name=NAME, estimators=(spec,), positions=positions))
    assert {"ie/0/1", "ie/1/2"} <= values(one, EXACT)[1].keys()
    with Estimating() as first, Estimating() as second:
        for number in range(5):
            store = new_store(f"both{number}")
            first.begin(store, MINE, positions="1")
            second.begin(store, NOISE, positions="2")
            assert (first.hears(), second.hears()) == (("ok", ""), ("ok", ""))
            require_equal(store, one, MINE, NOISE, EXACT)
            assert verify_dataset(store, NAME).faults == []


def test_who_comes_while_another_trains_reads_its_exact_values(new_store):
    """And what the first sees in the states later is kept beside what the second saw."""
    one, store = new_store("one"), new_store("both")
    for spec, positions in ((NOISE, "2"), (MINE, "1"), (EXACT, "all")):
        estimate(EstimateSpec(store=one, name=NAME, estimators=(spec,), positions=positions))
    with Estimating() as first:
        first.begin(store, MINE, positions="1", pause=True)
        assert first.hears() == "measuring"
        shown = show_results(store, NAME)["estimates"]
        assert len(shown) == 6
        assert [entry["flags"] for entry in shown] == [[]] * 6
        for spec, positions in ((NOISE, "2"), (EXACT, "all")):
            estimate(EstimateSpec(store=store, name=NAME, estimators=(spec,), positions=positions))
        first.go()
        assert first.hears() == ("ok", "")
    require_equal(store, one, MINE, NOISE, EXACT)


@pytest.mark.parametrize("spec", [NOISE, MINE, EXACT])
def test_the_same_estimator_twice_is_refused(new_store, spec):
    store = new_store("store")
    with Estimating() as first, Estimating() as second:
        first.begin(store, spec, pause=True)
        assert first.hears() == "measuring"
        second.begin(store, spec)
        kind, message = second.hears()
        assert kind == "BusyError"
        assert "held by a living process (pid" in message
        first.go()
        assert first.hears() == ("ok", "")
    assert verify_dataset(store, NAME).faults == []


def test_a_holder_of_exact_values_is_waited_for(new_store, monkeypatch):
    store = new_store("store")

    def held(seconds, begun):
        with open_storage(store).lock(f"{results_key(NAME, EXACT)}/block/.lock"):
            begun.append(True)
            time.sleep(seconds)

    begun = []
    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(held, 1.5, begun)
        while not begun:
            time.sleep(0.01)
        estimate(EstimateSpec(store=store, name=NAME, estimators=(NOISE,)))
        holder.result()
    monkeypatch.setattr("ie_store.store.results.writer.WAIT_SECONDS", 0.3)
    lock = open_storage(store).lock(f"{results_key(NAME, EXACT)}/block/.lock")
    with lock, pytest.raises(BusyError, match=r"exact-.*waited 0 s"):
        estimate(EstimateSpec(store=store, name=NAME, estimators=(estimator_spec("noise", scale="rms"),)))


def test_a_dataset_that_is_written_is_waited_for_a_moment(new_store, monkeypatch):
    store = new_store("store")
    monkeypatch.setattr("ie_store.store.results.holds.GATE_SECONDS", 0.2)
    with open_storage(store).lock(f"{NAME}/token_id/.lock"), pytest.raises(BusyError, match=r"token_id/\.lock is held"):
        estimate(EstimateSpec(store=store, name=NAME, estimators=(NOISE,)))
    assert show_results(store, NAME)["estimates"] == []


def test_a_run_that_is_held_leaves_the_others_free(new_store):
    store = new_store("store")
    with open_results(open_dataset(store, NAME), EXACT.identity).hold_run():
        estimate(EstimateSpec(store=store, name=NAME, estimators=(NOISE,)))
        with pytest.raises(BusyError, match="exact-"):
            estimate(EstimateSpec(store=store, name=NAME, estimators=(EXACT,)))
