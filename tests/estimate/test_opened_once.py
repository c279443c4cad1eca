"""No command opens a dataset twice: counted are reads of its zarr.json, and of the store's."""

from collections import Counter

import pytest
from known_store import NAME, random_tokens, write_store

from ie_store import open_store
from ie_store.estimate.run import estimate
from ie_store.estimators import estimator_spec
from ie_store.options import EstimateSpec
from ie_store.store.catalog import describe_dataset, list_datasets
from ie_store.store.files.local import LocalStorage
from ie_store.store.results.show import show_results
from ie_store.store.verify import verify_dataset


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "store", random_tokens(60))


@pytest.fixture
def times_read(monkeypatch):
    """How often each file was read whole."""
    counts, read = Counter(), LocalStorage.read

    def counting(self, key, *arguments):
        counts[key] += 1
        return read(self, key, *arguments)

    monkeypatch.setattr(LocalStorage, "read", counting)
    return counts


def run(store):
    estimators = tuple(map(estimator_spec, ("exact", "cca", "noise")))
    estimate(EstimateSpec(store=store, name=NAME, estimators=estimators, device="cpu"))


@pytest.mark.parametrize("command", [verify_dataset, describe_dataset, show_results])
def test_looking_at_a_dataset_opens_it_once(store, times_read, command):
    run(store)
    times_read.clear()
    command(store, NAME)
    assert (times_read["zarr.json"], times_read[f"{NAME}/zarr.json"]) == (1, 1)


def test_opening_and_listing_open_it_once(store, times_read):
    run(store)
    for command in (lambda: open_store(store, NAME).load(), lambda: list_datasets(store)):
        times_read.clear()
        command()
        assert (times_read["zarr.json"], times_read[f"{NAME}/zarr.json"]) == (1, 1)


def test_estimating_opens_it_once_and_else_looks_whether_it_is_still_the_same(store, times_read):
    run(store)
    times_read.clear()
    run(store)
    assert times_read["zarr.json"] == 1
    held, assembled = 2, 3 + 1  # cca and noise; all three and exact before the others
    assert times_read[f"{NAME}/zarr.json"] <= 1 + held + assembled + 1  # the last: exact is committed again
