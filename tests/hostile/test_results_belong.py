"""Results stand under the states they were computed from, whatever happens beside an estimate."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from called import ie_store
from estimating import Estimating
from known_store import NAME, random_tokens, write_store

from ie_store.errors import BusyError, IdentityError, StoreError
from ie_store.estimate.run import estimate
from ie_store.estimators import estimator_spec
from ie_store.options import EstimateSpec
from ie_store.store.catalog import describe_dataset
from ie_store.store.dataset.handle import open_dataset
from ie_store.store.dataset.remove import remove_dataset
from ie_store.store.results.group import results_key
from ie_store.store.results.show import read_results, show_results
from ie_store.store.results.writer import open_results
from ie_store.store.verify import verify_dataset

NOISE = estimator_spec("noise")
EXACT = estimator_spec("exact")
TOKENS = random_tokens(80)
OTHER = 7
"""Hidden size of the states that take the place of those of size 6."""


def run(store, *estimators, **options):
    return estimate(EstimateSpec(store=store, name=NAME, estimators=estimators or (NOISE,), **options))


def values(store, spec):
    """The arrays of a results group, without what differs from run to run."""
    group = xr.open_zarr(f"{store}/{results_key(NAME, spec)}", consolidated=False).load()
    return group.drop_vars([name for name in group if name.endswith(("_seconds", "_session"))])


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "store", TOKENS)


@pytest.fixture
def mixed(tmp_path, store):
    """A store whose states were replaced behind the results' back."""
    run(store, NOISE)
    shutil.move(f"{store}/{NAME}/estimates", tmp_path / "estimates")
    remove_dataset(store, NAME)
    write_store(store, TOKENS, hidden=OTHER)
    shutil.move(tmp_path / "estimates", f"{store}/{NAME}/estimates")
    return store


def test_results_of_other_states_are_never_shown(mixed):
    with pytest.raises(IdentityError, match=r"other activations.*remove that folder"):
        show_results(mixed, NAME)
    for spec in (NOISE, EXACT):
        with pytest.raises(IdentityError, match="other activations"):
            read_results(mixed, NAME, spec)
        with pytest.raises(IdentityError, match="other activations"):
            open_results(open_dataset(mixed, NAME), spec.identity)
    with pytest.raises(IdentityError, match="other activations"):
        run(mixed, NOISE)
    assert ["other activations" in found["fault"] for found in describe_dataset(mixed, NAME)["estimates"]] == [True, True]
    assert sum("other activations" in fault for fault in verify_dataset(mixed, NAME).faults) == 2


@pytest.mark.parametrize("command", ["show", "verify"])
def test_the_commands_end_with_2(mixed, command):
    result = ie_store(command, mixed, NAME)
    assert result.exit_code == 2
    assert "other activations" in " ".join(result.output.split())


def test_the_removed_folder_is_estimated_anew(mixed):
    for spec in (NOISE, EXACT):
        shutil.rmtree(Path(mixed, results_key(NAME, spec)))
    run(mixed, NOISE)
    assert verify_dataset(mixed, NAME).faults == []


def test_results_under_another_estimators_name_are_refused(store):
    run(store, NOISE)
    shutil.copytree(f"{store}/{results_key(NAME, NOISE)}", f"{store}/{results_key(NAME, estimator_spec('cca'))}")
    with pytest.raises(StoreError, match="holds the results of noise-"):
        show_results(store, NAME)
    with pytest.raises(StoreError, match="holds the results of noise-"):
        read_results(store, NAME, estimator_spec("cca"))


@pytest.mark.slow
@pytest.mark.parametrize("spec", [NOISE, EXACT])
def test_states_stay_while_they_are_estimated_from(store, spec):
    with Estimating() as other:
        other.begin(store, spec, pause=True)
        assert other.hears() == "measuring"
        with pytest.raises(BusyError, match="held by a living process"):
            write_store(store, TOKENS, hidden=OTHER, replace=True)
        with pytest.raises(BusyError, match="held by a living process"):
            remove_dataset(store, NAME)
        with pytest.raises(BusyError, match="held by a living process"):
            run(store, spec)
        assert verify_dataset(store, NAME).faults == []
        other.go()
        assert other.hears() == ("ok", "")
    assert len(show_results(store, NAME)["estimates"]) > 0
    write_store(store, TOKENS, hidden=OTHER, replace=True)
    assert show_results(store, NAME)["estimates"] == []
    assert not Path(store, NAME, "estimates").exists()


@pytest.mark.slow
@pytest.mark.parametrize("spec", [NOISE, EXACT])
@pytest.mark.parametrize("written_again", [True, False])
def test_an_estimate_writes_nothing_once_its_states_are_gone(store, spec, written_again):
    """By somebody who minds no locks."""
    with Estimating() as other:
        other.begin(store, spec, pause=True)
        assert other.hears() == "measuring"
        shutil.rmtree(Path(store, NAME))
        if written_again:
            write_store(store, TOKENS, hidden=OTHER)
        other.go()
        kind, message = other.hears()
        assert kind == "StoreError"
        assert f"was {'replaced' if written_again else 'removed'} meanwhile" in message
    if written_again:
        assert show_results(store, NAME)["estimates"] == []
    assert list(Path(store, NAME).rglob("mi_macro")) == []


def test_states_that_change_before_the_results_are_held_are_noticed(store, monkeypatch):
    import ie_store.estimate.run as module

    def replaced(device):
        write_store(store, TOKENS, hidden=OTHER, replace=True)
        return {"started": "now"}

    monkeypatch.setattr(module, "describe_session", replaced)
    with pytest.raises(StoreError, match="was replaced meanwhile"):
        run(store, NOISE)
    assert show_results(store, NAME)["estimates"] == []
    assert verify_dataset(store, NAME).faults == []


@pytest.mark.slow
@pytest.mark.parametrize("action", ["rm", "replace"])
@pytest.mark.parametrize("spec", [NOISE, EXACT])
def test_a_removal_just_as_an_estimate_begins(tmp_path, action, spec):
    """Whoever comes first wins; nothing is left that the next command does not accept, nor shown that is not true."""
    truth = {}
    for hidden in (6, OTHER):
        run(write_store(tmp_path / f"truth{hidden}", TOKENS, hidden=hidden), spec)
        truth[hidden] = values(tmp_path / f"truth{hidden}", spec)
    chance, store = np.random.default_rng(0), str(tmp_path / "store")

    def removed():
        try:
            if action == "rm":
                assert remove_dataset(store, NAME) == []
            else:
                write_store(store, TOKENS, hidden=OTHER, replace=True)
        except BusyError:
            return False
        return True

    with Estimating() as other, ThreadPoolExecutor(1) as beside:
        for late in [-0.3, *chance.uniform(-0.06, 0.06, 6), 0.3]:
            write_store(store, TOKENS)
            removing = beside.submit(removed) if late < 0 else None
            time.sleep(max(0, -late))
            other.begin(store, spec)
            other.works_for(late)
            done, (told, message) = removing.result() if removing else removed(), other.hears()
            assert told == "ok" if not done else told in ("ok", "StoreError"), message
            if done and action == "rm":
                assert not Path(store, NAME).exists()
                continue
            assert verify_dataset(store, NAME).faults == []
            run(store, spec)
            xr.testing.assert_equal(values(store, spec), truth[OTHER if done else 6])
            assert remove_dataset(store, NAME) == []
