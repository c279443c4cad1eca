"""Listing, describing and removing."""

import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import xarray as xr
import zarr
from made_store import make

from ie_store.errors import BusyError, InputError, StoreError
from ie_store.store.catalog import describe_dataset, list_datasets
from ie_store.store.dataset.remove import remove_dataset
from ie_store.store.files.open import open_storage


def test_list_and_describe(tmp_path):
    one = make(tmp_path / "s", "m/one", layers=(1,)).write()
    two = make(tmp_path / "s", "m/two", dtype="float32")
    with two.open_writer() as writer:
        writer.write_shard(two.layout.shard("macro", 0), two.shard_states("macro", 0))
        writer.mark_incomplete("layer 3 overflowed")
    make(tmp_path / "s", "n/cut-off").write()
    Path(tmp_path, "s/n/cut-off/zarr.json").unlink()
    (first, second), damaged = list_datasets(one.store)
    assert damaged == []
    assert (first.name, first.complete, first.num_layers, first.num_positions) == ("m/one", True, 1, 3)
    assert (second.name, second.complete, second.incomplete_reason) == ("m/two", False, "layer 3 overflowed")
    described = describe_dataset(one.store, "m/one")
    assert json.loads(json.dumps(described)) == described
    assert described["bytes"]["dense"] == 1 * 3 * 21 * 8 * 2 + 1 * 7 * 8 * 2
    on_disk = sum(file.stat().st_size for file in Path(one.path).rglob("*") if file.is_file())
    assert described["bytes"]["total"] == on_disk == first.disk_bytes
    assert described["missing_shards"] == {"macro": 0, "micro": 0}
    assert describe_dataset(one.store, "m/two")["missing_shards"] == {"macro": 2, "micro": 2}
    assert described["sessions"] == [{"versions": described["sessions"][0]["versions"]}]


def test_remove(made):
    other = make(made.store, "model/other").write()
    remove_dataset(made.store, made.name)
    assert not Path(made.path).exists()
    assert [dataset.name for dataset in list_datasets(made.store)[0]] == ["model/other"]
    with pytest.raises(StoreError, match="is not a dataset"):
        remove_dataset(made.store, made.name)
    tree = xr.open_datatree(other.store, engine="zarr", consolidated=False)
    assert "/model/other" in tree.groups
    made.write()
    assert describe_dataset(made.store, made.name)["complete"]


def test_remove_what_a_killed_creation_left(made):
    Path(made.path, "zarr.json").unlink()
    remove_dataset(made.store, made.name)
    assert not Path(made.path).exists()


def test_busy_datasets_stay(made):
    with made.open_writer(), pytest.raises(BusyError):
        remove_dataset(made.store, made.name)
    zarr.open_group(made.path, mode="r+").create_group("estimates/mine-0")
    with open_storage(made.store).lock(f"{made.name}/estimates/mine-0/block/.lock"), pytest.raises(BusyError):
        remove_dataset(made.store, made.name)
    assert describe_dataset(made.store, made.name)["complete"]
    remove_dataset(made.store, made.name)
    assert not Path(made.path).exists()


def test_locks_survive_removal_by_others(tmp_path):
    """Two that fight for a lock whose file comes and goes are never both inside."""
    files, inside, most = open_storage(str(tmp_path)), [], []

    def work():
        for _ in range(200):
            try:
                lock = files.lock("a/.lock")
                inside.append(1)
                most.append(len(inside))
                inside.pop()
                lock.remove()
            except BusyError:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_a_lock_that_is_removed_while_it_is_looked_at_is_made_anew(tmp_path, monkeypatch):
    looked, lstat = [], os.lstat

    def removed_at_first(path, **given):
        found = lstat(path, **given)
        looked.append(path)
        if len(looked) == 1:
            os.unlink(path, **given)
            return SimpleNamespace(st_mode=found.st_mode, st_nlink=0)  # what the kernel says of it then
        return found

    monkeypatch.setattr(os, "lstat", removed_at_first)
    with open_storage(str(tmp_path)).lock("a/.lock"):
        assert len(looked) == 3  # gone, made anew, and still there once it is held


def test_names_and_stores_that_cannot_be(made, tmp_path):
    for call in (describe_dataset, remove_dataset):
        with pytest.raises(InputError, match="is not MODEL/CORPUS"):
            call(made.store, "../model")
        with pytest.raises(StoreError, match="is not a store"):
            call(str(tmp_path / "none"), "a/b")
        with pytest.raises(StoreError, match="is not a dataset"):
            call(made.store, "model/none")
    with pytest.raises(StoreError, match="is not a store"):
        list_datasets(str(tmp_path / "none"))
    zarr.create_group(tmp_path / "foreign")
    with pytest.raises(StoreError, match="is a Zarr group of another program"):
        list_datasets(str(tmp_path / "foreign"))
