"""What our readers return goes into other files and comes back, and datasets of one corpus join on their source rows."""

import warnings

import numpy as np
import pytest
import xarray as xr
from made_store import make

import ie_store

LABELS = {"kind": np.array(["aé", "b", "c"] * 7), "even": np.arange(21) % 2 == 0}
CHOSEN = {"whole": {}, "part": {"layers": (1, 2), "positions": (0, 2)}}


@pytest.fixture(params=[("float16", "whole"), ("float16", "part"), ("bfloat16", "whole")], ids="-".join)
def made(request, tmp_path):
    dtype, chosen = request.param
    made = make(tmp_path / "s", dtype=dtype, labels=LABELS, **CHOSEN[chosen]).write()
    ie_store.estimate(made.store, made.name, estimators="exact")
    return made


def require_same(found, expected):
    xr.testing.assert_equal(found, expected)
    assert {name: value for name, value in found.attrs.items() if name != "coordinates"} == expected.attrs


@pytest.mark.parametrize("engine", ["h5netcdf", pytest.param("scipy", marks=pytest.mark.slow)])
def test_to_netcdf(made, tmp_path, engine):
    dataset = ie_store.open_store(made.store, made.name)
    dataset.to_netcdf(tmp_path / "d.nc", engine=engine)
    with xr.open_dataset(tmp_path / "d.nc", engine=engine) as found:
        require_same(found.load(), dataset.load())
    part = dataset.sel(layer=1).isel(sequence=[3, 1])
    part.to_netcdf(tmp_path / "p.nc", engine=engine)
    with xr.open_dataset(tmp_path / "p.nc", engine=engine) as found:
        require_same(found.load(), part.load())


def test_to_zarr_keeps_no_shards(made, tmp_path):
    dataset = ie_store.open_store(made.store, made.name)
    with warnings.catch_warnings():  # zarr-python's, of texts and of consolidated metadata
        warnings.simplefilter("ignore")
        dataset.to_zarr(tmp_path / "d.zarr")
    with xr.open_zarr(tmp_path / "d.zarr", consolidated=False) as found:
        assert found.macro.encoding.get("shards") is None
        require_same(found.load(), dataset.load())


@pytest.mark.slow
def test_trees(made, tmp_path):
    tree = ie_store.open_store(made.store)
    tree.to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree.to_zarr(tmp_path / "t.zarr")
    for opened in (xr.open_datatree(tmp_path / "t.nc", engine="h5netcdf"), xr.open_datatree(tmp_path / "t.zarr", engine="zarr")):
        with opened as found:
            assert np.array_equal(found[made.name].macro, tree[made.name].macro)
            (group,) = tree[f"{made.name}/estimates"].children
            place = f"{made.name}/estimates/{group}/ie"
            assert np.array_equal(found[place], tree[place])
    ie_store.open_estimates(made.store, made.name).to_netcdf(tmp_path / "e.nc", engine="h5netcdf")


def test_datasets_of_one_corpus_join_on_their_source_rows(tmp_path):
    """Rows stand in the order of their tokens, which another tokenizer makes another order."""
    one = make(tmp_path / "s", "one/rows").write()
    other = make(tmp_path / "s", "other/rows", seed=1)
    with other.open_writer() as writer:
        for level in ("micro", "macro"):
            for index in writer.missing_shards(level):
                writer.write_shard(other.layout.shard(level, index), other.shard_states(level, index))
    left, right = (ie_store.open_store(made.store, made.name).macro.sel(layer=1, position=2) for made in (one, other))
    right = right.isel(sequence=[4, 20, 0])
    left, right = (states.swap_dims(sequence="source_row").drop_vars("sequence") for states in (left, right))
    joined = xr.merge([left.rename("left"), right.rename("right")], join="inner", compat="override")
    for row in joined.source_row.values:
        for name, made in (("left", one), ("right", other)):
            place = 20 - row  # of made stores: source rows fall
            np.testing.assert_array_equal(joined[name].sel(source_row=row), made.states["macro"][1, 2, place].astype(np.float32))
    assert sorted(joined.source_row.values) == [0, 16, 20]
