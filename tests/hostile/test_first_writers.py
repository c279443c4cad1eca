"""Creations that meet others in a new store, and creations and removals that end anywhere."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from made_store import make

from ie_store.errors import StoreError
from ie_store.store.catalog import list_datasets
from ie_store.store.dataset.remove import remove_dataset
from ie_store.store.files.local import LocalStorage
from ie_store.store.files.open import open_storage
from ie_store.store.verify import verify_dataset

BUCKET = "hidden-states"
"""That of the fixture `server`."""
NAMES = ("one/a", "one/b", "two/a")


@pytest.fixture(params=["local", "s3"])
def new_store(request, tmp_path):
    """Addresses of stores that are not there yet."""
    if request.param == "local":
        return lambda number: str(tmp_path / f"store{number}")
    request.getfixturevalue("server")
    return lambda number: f"s3://{BUCKET}/first-writers/{number}"


@pytest.mark.slow
def test_first_writers_of_a_new_store_do_not_refuse_each_other(new_store):
    together = threading.Barrier(len(NAMES))

    def write(store, name):
        made = make(store, name, seed=len(name))
        together.wait()
        made.write()

    with ThreadPoolExecutor(len(NAMES)) as pool:
        for number in range(5):
            store = new_store(number)
            for written in [pool.submit(write, store, name) for name in NAMES]:
                written.result()
            whole, damaged = list_datasets(store)
            assert ([summary.name for summary in whole], damaged) == (sorted(NAMES), [])
            assert [fault for name in NAMES for fault in verify_dataset(store, name).faults] == []


@pytest.mark.slow
def test_a_store_that_begins_between_two_looks_is_one(new_store, monkeypatch):
    store = new_store("looks")
    kind = type(open_storage(store))
    listed = kind.list_keys

    def begun(files, prefix):
        if prefix == "":
            monkeypatch.setattr(kind, "list_keys", listed)
            make(store, "one/a").write()
        yield from listed(files, prefix)

    monkeypatch.setattr(kind, "list_keys", begun)
    assert verify_dataset(make(store, "two/b").write().store, "two/b").faults == []
    assert len(list_datasets(store)[0]) == 2


def test_a_folder_of_others_is_still_refused(tmp_path):
    for name in ("photos/2024/token_id/cat.jpg", "photos/token_id/.lock", "zarr.json.tmp", "a/b/token_id/notes.tmp"):
        path = Path(tmp_path, "folder", name)
        path.parent.mkdir(parents=True)
        path.write_text("mine")
        with pytest.raises(StoreError, match="not a store and not empty"):
            make(tmp_path / "folder").open_writer()
        assert [found for found in Path(tmp_path, "folder").rglob("*") if found.is_file()] == [path]
        path.unlink()
        Path(tmp_path, "folder").rename(tmp_path / name.replace("/", "-"))


class Ended(BaseException):
    """The process ends here."""


@pytest.fixture
def ends_after(monkeypatch):
    """Ends a process after so many writes, or deletions, of a method of `LocalStorage`."""

    def ends_after(method, count):
        real, left = getattr(LocalStorage, method), [count]

        def counted(self, *arguments, **options):
            if left[0] == 0:
                raise Ended
            left[0] -= 1
            return real(self, *arguments, **options)

        monkeypatch.setattr(LocalStorage, method, counted)
        return lambda: monkeypatch.setattr(LocalStorage, method, real)

    return ends_after


@pytest.mark.parametrize("method", ["write_atomic", "_delete"])
@pytest.mark.parametrize("then", [pytest.param("extract", marks=pytest.mark.slow), "rm"])
def test_a_replacement_that_ends_anywhere_is_gone_on_with(tmp_path, ends_after, method, then):
    labels = {"kind": np.arange(21), "word": np.array(["a", "b", "c"] * 7)}
    other, ended = make(tmp_path / "truth", seed=1, labels=labels).write(), 0
    for count in range(0, 200, 3 if then == "rm" else 1):
        store = tmp_path / f"store{count}"
        make(store, labels=labels).write()
        again = make(store, seed=1, labels=labels)
        restore = ends_after(method, count)
        try:
            again.open_writer(replace=True).close()
            break
        except Ended:
            ended += 1
        finally:
            restore()
        if then == "rm":
            assert remove_dataset(str(store), again.name) == []
            assert not Path(again.path).exists()
            continue
        again.open_writer(replace=True).close()
        assert verify_dataset(again.write().store, again.name).faults == []
        assert contents(again.path) == contents(other.path)
    assert ended >= (20 if then == "extract" else 7)


def contents(path):
    found = {str(file.relative_to(path)): file.read_bytes() for file in Path(path).rglob("*") if file.is_file()}
    return {name: content for name, content in found.items() if not name.endswith(".lock")}
