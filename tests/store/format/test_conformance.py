"""What we write, read by zarr-python, xarray and TensorStore; what zarr-python writes, read by us."""

import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_store import make

from ie_store.specs import Slab
from ie_store.store.format.arrays import BFLOAT16_NAN_BITS, state_template
from ie_store.store.open import open_reader


def expected_states(made, level):
    """The logical array: the truth where stored, fill elsewhere."""
    layout, states = made.layout, made.states[level]
    fill = BFLOAT16_NAN_BITS if layout.stored_dtype == "bfloat16" else np.nan
    expected = np.full(states.shape, fill, states.dtype)
    for cell in layout.level(level).stored_cells:
        expected[cell] = states[cell]
    return expected


def bits(values):
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


def tensorstore_read(path):
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}
    return tensorstore.open(spec, open=True, read=True).result().read().result()


def assert_all_readers_agree(made):
    plain = xr.open_zarr(made.path, consolidated=False, chunks=None)
    group = zarr.open_group(made.path, mode="r")
    reader = open_reader(made.store, made.name)
    for level in ("macro", "micro"):
        name, expected = made.layout.level(level).array, expected_states(made, level)
        assert np.array_equal(bits(group[name][...]), bits(expected))
        assert np.array_equal(bits(plain[name].values), bits(expected))
        assert np.array_equal(bits(tensorstore_read(f"{made.path}/{name}")), bits(expected))
        for cell in made.layout.level(level).stored_cells:
            slab = Slab(level=level, layer=cell[0], position=cell[1] if level == "macro" else None)
            assert np.array_equal(bits(reader.read_slab(slab, verify=True)), bits(expected[cell]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("chosen", [{}, {"layers": (0, 2)}, {"positions": (2,)}, {"layers": (1,), "positions": (0, 2)}])
def test_readers_agree_with_the_truth(tmp_path, dtype, chosen):
    assert_all_readers_agree(make(tmp_path / "s", dtype=dtype, **chosen).write())


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 40),
    num_positions=st.integers(1, 4),
    num_layers=st.integers(2, 4),
    hidden=st.integers(1, 9),
    size=st.sampled_from([1, 2, 4, 8, 64]),
    tokens_per_shard=st.sampled_from([1, 2, 16]),
    dtype=st.sampled_from(["float16", "bfloat16", "float32"]),
    data=st.data(),
)
def test_any_layout(tmp_path_factory, data, num_layers, num_positions, **changed):
    chosen = {
        "layers": tuple(sorted(data.draw(st.sets(st.integers(0, num_layers - 1), min_size=1)))),
        "positions": tuple(sorted(data.draw(st.sets(st.integers(0, num_positions - 1), min_size=1)))),
    }
    made = make(tmp_path_factory.mktemp("any") / "s", num_layers=num_layers, num_positions=num_positions, **chosen, **changed)
    assert_all_readers_agree(made.write())


def test_metadata_are_those_that_zarr_python_makes(made, tmp_path):
    template = state_template(made.layout, "macro")
    array = zarr.create_array(
        tmp_path / "theirs",
        shape=template.shape,
        shards=template.chunk_shape,
        chunks=template.inner_shape,
        dtype="float16",
        fill_value=float("nan"),
        compressors=zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="noshuffle", blocksize=2**18, typesize=2),
        dimension_names=template.dimensions,
        attributes=template.attributes,
    )
    ours = zarr.open_array(f"{made.path}/macro", mode="r")
    assert ours.metadata.to_dict() == array.metadata.to_dict()


def test_shards_that_zarr_python_wrote(made):
    array = zarr.open_group(made.path, mode="r+", zarr_format=3)["macro"]
    new = np.random.default_rng(9).standard_normal(array.shape).astype(np.float16)
    new[:, :, 5:9] = new[:, :, 5:6]
    array[...] = new
    reader = open_reader(made.store, made.name, verify=False)
    offsets = []
    for layer in range(3):
        for position in range(3):
            slab = Slab(level="macro", layer=layer, position=position)
            assert np.array_equal(reader.read_slab(slab), new[layer, position])
            offsets.append(reader._table("macro").extents((layer, position), range(1))[0][0])
    assert offsets != sorted(offsets), "zarr-python no longer orders inner chunks by Morton code: this test shows less"


def test_labels_and_rows_in_plain_xarray(tmp_path):
    labels = {
        "who": np.array(["a human", "model", ""] * 7),
        "score": np.linspace(0, 1, 21),
        "seen": np.arange(21) % 2 == 0,
        "year": np.arange(21, dtype=np.int16),
    }
    made = make(tmp_path / "s", labels=labels).write()
    plain = xr.open_zarr(made.path, consolidated=False).load()
    assert set(plain.coords) == {"layer", "position", "sequence", "token", "source_row", *labels}
    assert np.array_equal(plain.token_id, made.tokens)
    assert np.array_equal(plain.token, np.unique(made.tokens))
    assert np.array_equal(plain.source_row, np.arange(21)[::-1])
    assert [plain.who.attrs["categories"][code] for code in plain.who.values] == labels["who"].tolist()
    assert plain.who.attrs["flag_meanings"].split() == ["_", "a_human", "model"]
    assert plain.who.attrs["flag_values"] == [0, 1, 2]
    for name in ("score", "seen", "year"):
        assert plain[name].dtype == labels[name].dtype
        assert np.array_equal(plain[name], labels[name])
    for name in ("token_id", "who", "source_row", "layer"):
        assert np.array_equal(tensorstore_read(f"{made.path}/{name}"), plain[name])


def test_xarray_looks_for_consolidated_metadata_unless_told_otherwise(made):
    """We never consolidate: it would hide later estimates. Without ``consolidated=False`` xarray reads the same and warns."""
    with pytest.warns(RuntimeWarning, match="consolidated=False"):
        found = xr.open_zarr(made.path)
    xr.testing.assert_identical(found.load(), xr.open_zarr(made.path, consolidated=False).load())


def test_data_tree_over_the_store(tmp_path):
    made = make(tmp_path / "s", "m/one", seed=1).write()
    make(tmp_path / "s", "m/two", seed=2, dtype="bfloat16", rows=5).write()
    tree = xr.open_datatree(made.store, engine="zarr", consolidated=False)
    assert {"/m/one", "/m/one/ledger", "/m/two", "/m/two/ledger"} < set(tree.groups)
    assert np.array_equal(tree["m/one/macro"].values, made.states["macro"])
    assert tree["m/one/ledger"].macro.dims == ("macro_shard", "layer", "position")
