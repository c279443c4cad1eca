"""Links and strange files in a shared store: nothing outside it is touched, nothing of others is deleted."""

import os
from pathlib import Path

import numpy as np
import pytest
from known_store import NAME, random_tokens, write_store
from made_store import make

from ie_store.errors import InputError, StoreError
from ie_store.estimate.run import estimate
from ie_store.estimators import estimator_spec
from ie_store.options import EstimateSpec
from ie_store.store.dataset.remove import remove_dataset
from ie_store.store.format.arrays import dataset_name
from ie_store.store.results.group import results_key

NOISE = estimator_spec("noise")


@pytest.fixture
def precious(tmp_path):
    """A user's folder outside every store."""
    folder = tmp_path / "precious"
    (folder / "thesis").mkdir(parents=True)
    for name in ("thesis/chapter.tex", "data.tmp", "notes.0a1b2c3d.tmp", "zarr.json", ".lock"):
        (folder / name).write_text("years of work")
    return folder


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_linked_token_id_is_never_emptied_by_extract(tmp_path, precious):
    made = make(tmp_path / "store")
    Path(made.path).mkdir(parents=True)
    Path(made.path, "token_id").symlink_to(precious)
    before = contents(precious)
    with pytest.raises(StoreError, match="link"):
        made.open_writer()
    assert contents(precious) == before


@pytest.mark.parametrize("inside", ["token_id", "macro", "ledger", "micro/c", "ledger/macro/c"])
@pytest.mark.parametrize("action", ["replace", "rm"])
def test_a_link_inside_a_dataset_is_never_followed(tmp_path, precious, inside, action):
    made = make(tmp_path / "store").write()
    place = Path(made.path, inside)
    place.rename(tmp_path / "moved")
    place.symlink_to(precious)
    before, states = contents(precious), contents(tmp_path / "moved")
    other = make(made.store, made.name, seed=1)
    if action == "replace":
        with pytest.raises(StoreError, match=r"link|holds what is not a dataset's"):
            other.open_writer(replace=True)
        assert Path(made.path, "zarr.json").exists(), "nothing may be deleted before the link is found"
    elif inside == "token_id":
        with pytest.raises(StoreError, match="link"):
            remove_dataset(made.store, made.name)
    else:
        assert remove_dataset(made.store, made.name) == [f"{made.name}/{inside}"]
        assert not Path(made.path, "zarr.json").exists()
    assert place.is_symlink()
    assert contents(precious) == before
    assert contents(tmp_path / "moved") == states


@pytest.mark.parametrize("name", ["model/corpus", "model"])
def test_a_linked_dataset_is_not_removed_through_its_link(tmp_path, name):
    original = make(tmp_path / "original").write()
    Path(tmp_path, "store").mkdir()
    make(tmp_path / "store", "other/one").write()
    link = Path(tmp_path, "store", name)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(Path(original.store, name))
    before = contents(Path(original.store))
    with pytest.raises(StoreError, match="is a symbolic link"):
        remove_dataset(str(tmp_path / "store"), "model/corpus")
    with pytest.raises(StoreError, match="is a symbolic link"):
        make(tmp_path / "store", seed=1).open_writer(replace=True)
    assert contents(Path(original.store)) == before


def test_a_linked_lock_is_not_truncated(tmp_path, precious):
    made = make(tmp_path / "store").write()
    lock = Path(made.path, "token_id/.lock")
    lock.unlink()
    for plant in (lock.symlink_to, lock.hardlink_to):
        plant(precious / "thesis/chapter.tex")
        with pytest.raises(StoreError, match=r"is a (symbolic link|regular file): below the root"):
            made.open_writer()
        assert (precious / "thesis/chapter.tex").read_text() == "years of work"
        lock.unlink()


def test_a_linked_results_group_is_not_written_nor_swept(tmp_path, precious):
    store = write_store(tmp_path / "store", random_tokens(80))
    group = Path(store, results_key(NAME, NOISE))
    group.parent.mkdir(parents=True)
    group.symlink_to(precious)
    before = contents(precious)
    with pytest.raises(StoreError, match=r"is a symbolic link|is not a JSON object"):
        estimate(EstimateSpec(store=store, name=NAME, estimators=(NOISE,)))
    assert contents(precious) == before


def test_files_of_others_stay_and_are_named(tmp_path):
    made = make(tmp_path / "store", labels={"kind": np.arange(21)}).write()
    mine = [Path(made.path, name) for name in ("notes.txt", "macro/readme", "probe/zarr.json", "estimates/my-own/plot.png")]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    os.mkfifo(Path(made.path, "pipe"))
    before = contents(Path(made.path))
    with pytest.raises(StoreError, match=r"holds what is not a dataset's: .*notes\.txt.*nothing was touched"):
        make(made.store, made.name, seed=1).open_writer(replace=True)
    after = contents(Path(made.path))
    assert after.keys() == before.keys()
    left = remove_dataset(made.store, made.name)
    assert sorted(left) == sorted(f"{made.name}/{path.relative_to(made.path)}" for path in [*mine, Path(made.path, "pipe")])
    assert sorted(path for path in Path(made.path).rglob("*") if not path.is_dir()) == sorted([*mine, Path(made.path, "pipe")])


def test_the_root_itself_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    made = make(tmp_path / "store").write()
    assert remove_dataset(made.store, made.name) == []
    assert list((tmp_path / "disk").rglob("*.lock")) == []


@pytest.mark.parametrize("name", ["zarr.json/c", "x/zarr.json", ".hidden/c", "m/.c", "__x/c", "m/__c"])
def test_names_of_the_format_are_refused(name):
    with pytest.raises(InputError, match="is not MODEL/CORPUS"):
        dataset_name(name)
    assert dataset_name("m/c") == "m/c"
