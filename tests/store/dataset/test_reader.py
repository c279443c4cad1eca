"""Slab reads, whole and in part, into given memory, through Dask, and across processes."""

import os
import pickle
import threading
from threading import Barrier

import numpy as np
import pytest
from made_store import make

from ie_store.errors import InputError, StoreError
from ie_store.specs import Slab
from ie_store.store.files.local import LocalStorage
from ie_store.store.open import open_reader


def macro(layer, position):
    return Slab(level="macro", layer=layer, position=position)


def test_out_is_filled_and_returned(made):
    reader, out = open_reader(made.store, made.name), np.zeros((21, 8), np.float16)
    for layer in range(3):
        assert reader.read_slab(macro(layer, 1), out) is out
        assert np.array_equal(out, made.states["macro"][layer, 1])


@pytest.mark.parametrize("out", [np.zeros((20, 8), np.float16), np.zeros((21, 8), np.float32), np.zeros((8, 21), np.float16).T])
def test_unfit_out_is_refused(made, out):
    with pytest.raises(InputError, match=r"C-contiguous \(21, 8\) of float16 is needed"):
        open_reader(made.store, made.name).read_slab(macro(0, 0), out)


def test_every_stretch_of_rows(made):
    reader = open_reader(made.store, made.name)
    for start in range(21):
        for stop in range(start, 22):
            assert np.array_equal(reader.read_rows(macro(2, 1), start, stop), made.states["macro"][2, 1, start:stop])


@pytest.mark.parametrize("rows", [1, 21, 300])
def test_incompressible_rows(tmp_path, rows):
    made = make(tmp_path / "s", rows=rows, hidden=64, size=16)
    made.states["macro"] = np.random.default_rng(5).integers(0, 2**16, made.states["macro"].shape, np.uint16).view(np.float16)
    made.write()
    reader = open_reader(made.store, made.name)
    for verify in (False, True):
        found = reader.read_slab(macro(1, 2), verify=verify)
        assert np.array_equal(found.view(np.uint16), made.states["macro"][1, 2].view(np.uint16))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("chunks_per_slab", [1, 3, 1000])
def test_slab_array(tmp_path, dtype, chunks_per_slab):
    made = make(tmp_path / "s", dtype=dtype).write()
    array = open_reader(made.store, made.name).slab_array(macro(1, 0), chunks_per_slab)
    truth = made.states["macro"][1, 0]
    truth = (truth.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else truth
    assert array.dtype == truth.dtype
    assert array.numblocks == (min(chunks_per_slab, 21), 1)
    assert np.array_equal(array.compute(scheduler="sync"), truth)
    assert np.array_equal(array[3:7, 2:4].compute(scheduler="threads"), truth[3:7, 2:4])


def test_reader_travels_as_a_locator(made):
    reader = open_reader(made.store, made.name)
    reader.read_slab(macro(0, 0))
    sent = pickle.dumps(reader)
    assert len(sent) < 1000
    assert np.array_equal(pickle.loads(sent).read_slab(macro(0, 0)), made.states["macro"][0, 0])
    array = pickle.loads(pickle.dumps(reader.slab_array(macro(1, 1))))
    assert np.array_equal(array.compute(scheduler="sync"), made.states["macro"][1, 1])


def test_what_the_reader_knows(made):
    reader = open_reader(made.store, made.name)
    assert reader.layout == made.layout
    assert reader.corpus == made.corpus
    assert made.identity.differences(reader.identity) == []
    assert reader.complete
    assert np.array_equal(reader.tokens, made.tokens)
    assert np.array_equal(reader.token_values, np.unique(made.tokens))
    assert reader.missing_shards("macro") == reader.missing_shards("micro") == []


def test_slab_that_is_not_stored(tmp_path):
    made = make(tmp_path / "s", layers=(0, 2), positions=(1,)).write()
    reader = open_reader(made.store, made.name)
    with pytest.raises(StoreError, match=r"macro layer 1, position 1; stored are layers \[0, 2\] and positions \[1\]"):
        reader.read_slab(macro(1, 1))
    with pytest.raises(StoreError, match=r"micro layer 1; stored are layers \[0, 2\]$"):
        reader.slab_array(Slab(level="micro", layer=1, position=None))


@pytest.mark.parametrize(
    "slab", [macro(3, 0), macro(0, 3), macro(-1, 0), macro(0, None), Slab(level="micro", layer=0, position=0)]
)
def test_slab_that_cannot_exist(made, slab):
    with pytest.raises(InputError, match="does not exist"):
        open_reader(made.store, made.name).read_slab(slab)


def test_shard_that_is_not_written_yet(tmp_path):
    made = make(tmp_path / "s")
    with made.open_writer() as writer:
        writer.write_shard(made.layout.shard("macro", 1), made.shard_states("macro", 1))
    reader = open_reader(made.store, made.name)
    assert not reader.complete
    assert reader.missing_shards("macro") == [0, 2]
    assert np.array_equal(reader.read_rows(macro(0, 0), 8, 16), made.states["macro"][0, 0, 8:16])
    with pytest.raises(StoreError, match=r"macro shard 0, layer 0, position 0\) is not written yet"):
        reader.read_slab(macro(0, 0))
    made.write()
    assert np.array_equal(reader.read_slab(macro(0, 0)), made.states["macro"][0, 0])


@pytest.mark.parametrize("name", ["", "a", "a/b/c", "/a", "a/", "../a", "a/..", "a b/c", "a\\b", ".hidden/x"])
def test_malformed_name(made, name):
    with pytest.raises(InputError, match="is not MODEL/CORPUS"):
        open_reader(made.store, name)


def test_no_such_store_or_dataset(made, tmp_path):
    with pytest.raises(StoreError, match="is not a store: it has no zarr"):
        open_reader(str(tmp_path / "nowhere"), "a/b")
    with pytest.raises(StoreError, match=r"is not a dataset; 'ie-store ls"):
        open_reader(made.store, "model/other")
    with pytest.raises(InputError, match="only local folders"):
        open_reader("ftp://host/store", "a/b")
    with pytest.raises(InputError, match="path is empty"):
        open_reader("", "a/b")


@pytest.mark.parametrize(("cached", "most"), [(False, 8), (True, 2)])
def test_what_lies_in_memory_is_read_in_as_many_threads_as_cores(tmp_path, monkeypatch, cached, most):
    made, seen = make(tmp_path / "s", rows=300, size=16).write(), set()
    reader, barrier = open_reader(made.store, made.name), Barrier(most)
    read_into = LocalStorage.read_into

    def noted(self, *given):
        if threading.get_ident() not in seen:
            seen.add(threading.get_ident())
            barrier.wait(20)  # all of them at once, or a broken barrier
        return read_into(self, *given)

    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(LocalStorage, "in_memory", lambda self, key, start: cached)
    reader.read_slab(macro(0, 0))  # indices are known
    seen.clear()
    monkeypatch.setattr(LocalStorage, "read_into", noted)
    assert np.array_equal(reader.read_slab(macro(1, 1)), made.states["macro"][1, 1])
    assert len(seen) == most


def test_the_page_cache_says_what_lies_in_memory(tmp_path):
    path, files = tmp_path / "file", LocalStorage(str(tmp_path))
    path.write_bytes(bytes(2**16))
    assert files.in_memory("file", 100)
    assert not files.in_memory("file", 2**16)  # nothing lies there
    with pytest.raises(StoreError, match="is missing"):
        files.in_memory("other", 0)


def test_a_system_that_cannot_tell_counts_as_not_in_memory(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(bytes(10))
    monkeypatch.setattr("ie_store.store.files.local.NOWAIT", None)
    assert not LocalStorage(str(tmp_path)).in_memory("file", 0)
