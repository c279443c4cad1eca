"""The xarray engine and `open_store` against plain xarray."""

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_store import make

import ie_store
from ie_store.errors import InputError, StoreError


def plain(made):
    return xr.open_zarr(made.path, consolidated=False, chunks=None).load()


def truth(made):
    """What our readers must show: plain Zarr's stored layers and positions, as float32, with the labels' texts.

    Attributes are those of plain Zarr as other file formats take them: no objects, no lists, no truth values.
    """
    found = plain(made)
    numbers = {False: 0, True: 1}
    found.attrs = {
        name: numbers[value] if isinstance(value, bool) else json.dumps(value) if isinstance(value, dict | list) else value
        for name, value in found.attrs.items()
        if value is not None
    }
    tokens = found.token_id.rename(position="all_position").drop_vars("all_position")
    found = found.isel(layer=list(made.layout.layers), position=list(made.layout.positions))
    for level in ("macro", "micro"):
        found[level] = found[level].astype(np.float32)
        found[level].attrs.pop("note", None)
    for name, values in made.labels.items():
        if values.dtype.kind == "U":
            found = found.assign_coords({name: ("sequence", values, {"long_name": f"label {name} of the source"})})
    if len(made.layout.positions) < made.layout.num_positions:
        found["all_token_id"] = tokens.assign_attrs(long_name="token id of each sequence at each position, stored or not")
    return found


@pytest.mark.parametrize("chosen", [{}, {"layers": (0, 2), "positions": (1,)}])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_engine_gives_what_plain_zarr_gives(tmp_path, dtype, chosen):
    labels = {"who": np.array(list("abc") * 7), "year": np.arange(21), "seen": np.arange(21) < 4}
    made = make(tmp_path / "s", dtype=dtype, labels=labels, **chosen).write()
    for chunks in ({}, None, "auto", {"sequence": -1}):
        found = xr.open_dataset(made.path, engine="ie_store", chunks=chunks)
        assert_same_values(found, truth(made))
    assert_same_values(ie_store.open_store(made.store, made.name).drop_vars("micro_state"), truth(made))


def assert_same_values(found, expected):
    """Identical but for the index over stored layers and positions, which words its errors differently."""
    own = ["layer", "position"]
    xr.testing.assert_identical(found.load().drop_indexes(own), expected.drop_indexes(own))


def test_one_dask_chunk_per_slab(made):
    dataset = ie_store.open_store(made.store, made.name)
    assert dataset.macro.chunksizes == {"layer": (1,) * 3, "position": (1,) * 3, "sequence": (21,), "hidden": (8,)}
    assert dataset.micro.chunksizes == {"layer": (1,) * 3, "token": (7,), "hidden": (8,)}
    assert dataset.micro_state.chunksizes == {"layer": (1,) * 3, "sequence": (21,), "position": (1,) * 3, "hidden": (8,)}
    assert len(dataset.macro.data.dask) < 30


def test_bfloat16_is_decoded(tmp_path):
    made = make(tmp_path / "s", dtype="bfloat16", layers=(1,)).write()
    dataset = ie_store.open_store(made.store, made.name)
    expected = (made.states["macro"].astype(np.uint32) << 16).view(np.float32)
    assert dataset.macro.dtype == dataset.micro.dtype == dataset.micro_state.dtype == np.float32
    assert np.array_equal(dataset.macro.sel(layer=1), expected[1])
    assert dataset.layer.values.tolist() == [1]
    assert "encoding" not in dataset.macro.attrs


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_micro_state_is_micro_joined_by_token(tmp_path, dtype):
    made = make(tmp_path / "s", dtype=dtype, layers=(0, 2)).write()
    dataset = ie_store.open_store(made.store, made.name)
    expected = dataset.micro.load().sel(token=dataset.token_id.load()).transpose("layer", "sequence", "position", "hidden")
    assert dataset.micro_state.dims == expected.dims
    assert np.array_equal(dataset.micro_state.values, expected.values, equal_nan=True)
    sparse = dataset.micro_state.isel(layer=1, sequence=[20, 3, 3], position=[2, 0], hidden=slice(1, 4))
    assert np.array_equal(sparse, expected.isel(layer=1, sequence=[20, 3, 3], position=[2, 0], hidden=slice(1, 4)))


def slices(size):
    """xarray itself fails on empty slices with a negative step."""
    return st.slices(size).filter(lambda part: len(range(size)[part]) > 0)


indices = st.one_of(st.integers(-3, 2), slices(3), st.lists(st.integers(0, 2), min_size=1, max_size=4))
rows = st.one_of(st.integers(-21, 20), slices(21), st.lists(st.integers(-21, 20), min_size=1, max_size=30))


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layer=indices, position=indices, sequence=rows, hidden=st.one_of(st.integers(0, 7), slices(8)))
def test_any_outer_index(made, layer, position, sequence, hidden):
    key = {"layer": layer, "position": position, "sequence": sequence, "hidden": hidden}
    lazy = xr.open_dataset(made.path, engine="ie_store", chunks=None, cache=False).macro
    xr.testing.assert_identical(lazy.isel(key).load(), truth(made).macro.isel(key))


def test_incomplete_dataset_says_so_and_shows_nan(tmp_path):
    made = make(tmp_path / "s")
    with made.open_writer() as writer:
        writer.write_shard(made.layout.shard("macro", 0), made.shard_states("macro", 0))
        writer.mark_incomplete("stopped for a test")
    dataset = ie_store.open_store(made.store, made.name)
    assert dataset.attrs["complete"] == 0
    assert dataset.attrs["incomplete_reason"] == "stopped for a test"
    assert np.array_equal(dataset.macro[:, :, :8], made.states["macro"][:, :, :8])
    assert np.isnan(dataset.macro[:, :, 8:]).all()
    xr.testing.assert_identical(dataset.drop_vars("micro_state").load(), truth(made))


def test_xarray_recognises_a_dataset_by_itself(made):
    with xr.open_dataset(made.path) as dataset:
        assert np.array_equal(dataset.macro, made.states["macro"])
    assert set(xr.open_dataset(made.path, engine="ie_store", drop_variables=["macro"]).data_vars) == {"micro", "token_id"}
    for path in (made.store, made.path + "/macro"):
        with pytest.raises(ValueError, match="did not find a match"):
            xr.open_dataset(path)


def test_paths(made, monkeypatch):
    monkeypatch.chdir(made.store)
    for path in ("model/corpus", "./model/corpus/", "model/../model/corpus"):
        assert xr.open_dataset(path, engine="ie_store").attrs["complete"]
    for store in (".", "./", made.store + "/"):
        assert ie_store.open_store(store, "model/corpus").attrs["complete"]
    with pytest.raises(StoreError, match="is not a dataset"):
        ie_store.open_store(made.store, "model/none")
    for name in ("model", "", "model/corpus/macro", "../corpus"):
        with pytest.raises(InputError, match="is not MODEL/CORPUS"):
            ie_store.open_store(made.store, name)
    for path in ("/", "/x", ""):
        with pytest.raises((InputError, StoreError)):
            ie_store.open_store(path)
        with pytest.raises((InputError, StoreError)):
            xr.open_dataset(path, engine="ie_store")


@pytest.mark.slow
def test_plain_xarray_needs_nothing_of_ours(made):
    program = (
        "import sys, xarray as xr\n"
        "sys.modules['ie_store'] = None\n"
        "import warnings; warnings.filterwarnings('error'); warnings.filterwarnings('ignore', 'Engine')\n"
        f"d = xr.open_zarr({made.path!r}, consolidated=False)\n"
        "print(float(d.macro.astype('float64').sum()), d.attrs['complete'])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert float(result.stdout.split()[0]) == pytest.approx(made.states["macro"].astype(np.float64).sum())


def test_engine_module_is_light():
    heavy = ("torch", "zarr", "dask", "numcodecs")
    program = f"import sys, ie_store.store.xarray_backend; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert "torch" not in result.stdout
    assert "numcodecs" not in result.stdout
