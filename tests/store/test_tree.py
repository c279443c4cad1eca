"""A whole store as a tree, against plain xarray."""

import numpy as np
import pytest
import xarray as xr
from made_store import make

import ie_store
from ie_store.errors import IdentityError, StoreError
from ie_store.store.dataset.handle import open_dataset
from ie_store.store.results.records import Record
from ie_store.store.results.writer import open_results
from ie_store.variables import Variable, piece

NORM = Variable(name="norm", dimensions=("layer", "position"), long_name="norm", units="1", lineage="macro states")


def write_norms(made, value=1.5):
    group = open_results(open_dataset(made.store, made.name), {"name": "norm", "version": 1})
    with group.hold_run():
        group.commit(Record(item="a", session={}, flags={}, pieces=(piece(NORM, ((1, 2), (1,)), [value, -value]),)))
        group.assemble()
    return group.key


@pytest.fixture
def pair(tmp_path):
    """A store of two datasets, of which the second stores some layers and positions only; both with results."""
    whole = make(tmp_path / "s", "one/rows").write()
    part = make(tmp_path / "s", "two/rows", layers=(1, 2), positions=(1,), seed=1).write()
    return whole, part, *map(write_norms, (whole, part))


def test_datasets_and_results_stand_where_plain_zarr_has_them(pair):
    whole, part, *keys = pair
    tree = ie_store.open_store(whole.store)
    for made in (whole, part):
        opened = ie_store.open_store(made.store, made.name)
        xr.testing.assert_identical(tree[made.name].to_dataset().drop_indexes(["layer", "position"]).load(),
                                    opened.drop_indexes(["layer", "position"]).load())  # fmt: skip
    for key in keys:
        plain = xr.open_zarr(f"{whole.store}/{key}", consolidated=False)
        found = tree[key].to_dataset()
        assert np.array_equal(found.norm, plain.norm.sel(layer=found.layer, position=found.position), equal_nan=True)
        assert found.norm.attrs == plain.norm.attrs
    assert tree[keys[0]].norm.shape == (3, 3)
    assert tree[keys[1]].norm.shape == (2, 1)
    assert tree[keys[1]].norm.values.tolist() == [[1.5], [-1.5]]


def test_it_is_lazy(pair, monkeypatch):
    whole, _, key, _ = pair
    tree = ie_store.open_store(whole.store)
    assert tree["one/rows"].macro.chunks is not None
    assert tree[key].norm.chunks is not None
    monkeypatch.setattr("ie_store.store.xarray_results.read_result", lambda *where: np.full((3, 3), 7.0))
    assert (tree[key].norm == 7).all()


def test_labels_are_in_memory(tmp_path):
    made = make(tmp_path / "s", labels={"kind": np.array(list("abc") * 7)}).write()
    found = ie_store.open_store(made.store)[made.name].to_dataset()
    assert sorted(found.macro.groupby("kind").mean().kind.values) == ["a", "b", "c"]


def test_the_engine_opens_a_tree(pair):
    whole = pair[0]
    found = xr.open_datatree(whole.store, engine="ie_store")
    assert set(found.children) == {"one", "two"}
    assert np.array_equal(found["one/rows"].macro, whole.states["macro"])


def test_what_is_no_store_says_what_it_is(pair, monkeypatch):
    whole = pair[0]
    with pytest.raises(StoreError, match=rf"is a dataset, not a store: open it with open_store\('{whole.store}', 'one/rows'\)"):
        ie_store.open_store(whole.path)
    with pytest.raises(StoreError, match=rf"/one is the group of a model in the store {whole.store}: open that"):
        ie_store.open_store(f"{whole.store}/one")
    with pytest.raises(StoreError, match="is not a store"):
        ie_store.open_store(f"{whole.store}/none")
    monkeypatch.chdir(whole.store)
    with pytest.raises(StoreError, match=rf"open it with open_store\('{whole.store}', 'one/rows'\)"):
        ie_store.open_store("one/rows")


def test_an_empty_store_is_an_empty_tree(pair, tmp_path):
    root = tmp_path / "empty"
    root.mkdir()
    (root / "zarr.json").write_bytes((tmp_path / "s/zarr.json").read_bytes())
    assert not ie_store.open_store(str(root)).children


def test_results_of_other_states_are_refused(pair, tmp_path):
    whole, _, key, other = pair
    (tmp_path / "s" / key / "zarr.json").write_bytes((tmp_path / "s" / other / "zarr.json").read_bytes())
    with pytest.raises(IdentityError, match="was computed from other activations"):
        ie_store.open_store(whole.store)


def test_an_array_that_was_exchanged_is_refused_when_it_is_read(pair, tmp_path):
    whole, _, key, _ = pair
    tree = ie_store.open_store(whole.store)
    place = tmp_path / "s" / key / "norm/c/0/0"
    raw = bytearray(place.read_bytes())
    raw[0] ^= 1
    place.write_bytes(raw)
    with pytest.raises(StoreError, match="checksum does not match"):
        tree[key].norm.load()
