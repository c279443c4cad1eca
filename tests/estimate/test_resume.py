"""An estimate killed at random moments goes on where it was, and ends with what an uninterrupted one writes."""

import json
import random
import time
from pathlib import Path

import pytest
import torch
import xarray as xr
from forked import started
from known_store import NAME, random_tokens, write_store

import ie_store.estimate.run
import ie_store.estimate.watch
from ie_store.errors import StoreError
from ie_store.estimate.run import estimate, run_estimate
from ie_store.estimators import estimator_spec
from ie_store.options import EstimateSpec
from ie_store.store.dataset.remove import remove_dataset
from ie_store.store.open import open_reader
from ie_store.store.results.group import results_key
from ie_store.store.results.writer import ResultGroup, open_results
from ie_store.store.verify import verify_dataset

NOISE = estimator_spec("noise")


def run_in_small_steps(store):
    """An item for each problem, and arrays after each item."""
    torch.set_num_threads(1)
    ie_store.estimate.watch.ASSEMBLE_SECONDS = 0.0
    ie_store.estimate.run.BATCH_BYTES = {"cpu": 1}
    estimate(EstimateSpec(store=store, name=NAME, estimators=(NOISE,), positions="all"))


def values(store):
    group = xr.open_zarr(f"{store}/{results_key(NAME, NOISE)}", consolidated=False).load()
    return group.drop_vars([name for name in group if name.endswith(("_seconds", "_session"))])


def num_records(store):
    return len(list(Path(store, NAME, "estimates").glob("*/position/records/*.json")))


@pytest.mark.slow
def test_killed_estimates_end_like_an_uninterrupted_one(tmp_path, monkeypatch):
    tokens = random_tokens(150)
    whole, killed = (write_store(tmp_path / name, tokens, layers=5) for name in ("whole", "killed"))
    monkeypatch.setattr("ie_store.estimate.run.BATCH_BYTES", {"cpu": 1})
    spec = EstimateSpec(store=whole, name=NAME, estimators=(NOISE,), positions="all")
    estimate(spec)
    rng, done = random.Random(0), 0
    for _ in range(5):
        known = num_records(killed)
        child = started(run_in_small_steps, killed)
        while child.is_alive() and num_records(killed) < known + 2:  # exact values and one more, however slow the machine
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 0.5))
        child.kill()
        child.join()
        before, done = done, num_records(killed)
        assert done >= before
    assert done > 0
    estimate(EstimateSpec(store=killed, name=NAME, estimators=(NOISE,), positions="all"))
    xr.testing.assert_equal(values(killed), values(whole))


def test_what_another_run_finished_before_this_one_could_begin_is_not_done_again(tmp_path, monkeypatch):
    store, began = write_store(tmp_path / "store", random_tokens(60)), []
    asked = EstimateSpec(store=store, name=NAME, estimators=(estimator_spec("noise"),))
    hold = ResultGroup.hold_run

    def after_another(group):
        if not began:
            began.append(True)
            estimate(asked)
        return hold(group)

    monkeypatch.setattr(ResultGroup, "hold_run", after_another)
    report = run_estimate(asked)
    assert (report.complete, report.num_done_now) == (True, 0)
    assert verify_dataset(store, NAME).faults == []


def test_a_record_that_was_removed_is_known_no_more(tmp_path):
    store = write_store(tmp_path / "store", random_tokens(60))
    noise = estimator_spec("noise")
    estimate(EstimateSpec(store=store, name=NAME, estimators=(noise,)))
    group = open_results(open_reader(store, NAME).dataset, noise.identity)
    item = min(group.items)
    assert group.find(item)
    (path,) = Path(store, NAME, "estimates").glob(f"noise-*/position/records/{item}.json")
    path.unlink()
    assert not group.find(item)
    assert item not in group.items


def test_what_a_message_says_of_changed_documents_mends_them(tmp_path):
    store = write_store(tmp_path / "store", random_tokens(60))
    asked = EstimateSpec(store=store, name=NAME, estimators=(NOISE,))
    whole = estimate(asked)
    (document,) = Path(store, NAME, "estimates").glob("noise-*/zarr.json")
    kept = document.read_bytes()
    document.write_bytes(kept.replace(b'"num_blocks"', b'"num_blokcs"'))
    with pytest.raises(StoreError, match=r"remove that file and run the same estimate command again"):
        estimate(asked)
    document.unlink()
    assert estimate(asked) == whole
    assert json.loads(document.read_bytes()) == json.loads(kept)
    dataset = Path(store, NAME, "zarr.json")
    dataset.write_bytes(dataset.read_bytes().replace(b'"complete"', b'"compelte"'))
    with pytest.raises(StoreError, match=r"restore the file, or remove the dataset with 'ie-store rm' and extract it again"):
        estimate(asked)
    remove_dataset(store, NAME)
    assert not Path(store, NAME).exists()
