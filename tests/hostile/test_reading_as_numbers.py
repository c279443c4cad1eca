"""What is read can be computed with: no overflow, no NaN in the place of what is not stored, no codes in the place of texts."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from made_store import make

import ie_store
from ie_store.errors import InputError, StoreError
from ie_store.specs import digest
from ie_store.store.format.small_arrays import with_checksum
from ie_store.store.xarray_backend import IeStoreBackend


def large(store, dtype="float16", **changed):
    """A dataset of states as large as those of real models."""
    made = make(store, dtype=dtype, num_positions=2, **changed)
    for level, states in made.states.items():
        sign = np.where(np.arange(states.shape[-1]) % 2, 1, -1)
        made.states[level] = (29_000 + 50 * states.astype(np.float32)).astype(dtype) * sign.astype(dtype)
    return made.write()


def both_readers(made, **options):
    return ie_store.open_store(made.store, made.name, **options), xr.open_dataset(
        made.path, engine="ie_store", micro_state=True, **options
    )


def test_sums_and_squares_of_float16_states_do_not_overflow(tmp_path):
    made = large(tmp_path / "s")
    for dataset in both_readers(made):
        for name in ("macro", "micro", "micro_state"):
            assert dataset[name].dtype == np.float32
            assert dataset[name].compute().dtype == np.float32
        states = made.states["macro"][1].astype(np.float64)
        for found, truth in (
            (dataset.macro.sel(layer=1).mean("sequence"), states.mean(axis=1)),
            (dataset.macro.sel(layer=1).std("sequence"), states.std(axis=1)),
            ((dataset.macro.sel(layer=1) ** 2).sum("sequence"), (states**2).sum(axis=1)),
        ):
            np.testing.assert_allclose(found.values, truth, rtol=1e-3)
    with np.errstate(over="ignore"):
        plain = xr.open_zarr(made.path, consolidated=False, chunks=None)
        assert not np.isfinite((plain.macro**2).sum()), "the test would show nothing"


def test_stored_gives_what_is_stored(tmp_path):
    made = large(tmp_path / "s")
    for dataset in both_readers(made, dtype="stored"):
        assert dataset.macro.dtype == dataset.micro.dtype == dataset.micro_state.dtype == np.float16
        assert np.array_equal(dataset.macro, made.states["macro"])
        assert np.array_equal(
            dataset.macro.isel(sequence=[20, 3, 3], hidden=[5, 1]), made.states["macro"][:, :, [20, 3, 3]][..., [5, 1]]
        )
    with pytest.raises(InputError, match=r"dtype 'float64' is not known.*float32, stored"):
        ie_store.open_store(made.store, made.name, dtype="float64")


def test_attributes_tell_plain_readers_to_convert(tmp_path):
    made = make(tmp_path / "s").write()
    plain = xr.open_zarr(made.path, consolidated=False)
    for level in ("macro", "micro"):
        assert "convert to float32 before sums, means and squares" in plain[level].attrs["note"]
        assert "note" in xr.open_dataset(made.path, engine="ie_store", dtype="stored")[level].attrs
        assert "note" not in ie_store.open_store(made.store, made.name)[level].attrs
    full = make(tmp_path / "t", dtype="float32").write()
    assert "note" not in xr.open_zarr(full.path, consolidated=False).macro.attrs


@pytest.mark.filterwarnings("error")
def test_every_float16_is_shown_as_the_same_number(tmp_path):
    made = make(tmp_path / "s", rows=1024, size=128, num_positions=1, num_layers=2, hidden=32)
    made.states["macro"] = np.arange(2**16, dtype=np.uint16).reshape(2, 1, 1024, 32).view(np.float16)
    made.write()
    shown = ie_store.open_store(made.store, made.name, verify=False).macro.values
    with np.errstate(invalid="ignore"):
        assert np.array_equal(shown, made.states["macro"].astype(np.float32), equal_nan=True)


@pytest.fixture
def partial(tmp_path):
    labels = {"who": np.array(["a human", "model", ""] * 7)}
    return make(tmp_path / "partial", layers=(1, 2), positions=(0, 2), labels=labels).write()


def test_what_is_not_stored_is_a_key_error_that_says_what_is(partial):
    for dataset in both_readers(partial):
        for again in (dataset, dataset.copy(deep=True), pickle.loads(pickle.dumps(dataset)), dataset.isel(sequence=slice(3))):
            with pytest.raises(KeyError, match=r"layer 0 is not stored; stored layers: \[1, 2\].*--layers"):
                again.macro.sel(layer=0)
            with pytest.raises(KeyError, match=r"position \[0, 1\] is not stored; stored positions: \[0, 2\].*--positions"):
                again.sel(position=[0, 1])
        assert dataset.macro.sel(layer=0, method="nearest").layer == 1


def test_operations_over_a_dataset_stored_in_part_are_over_what_is_stored(partial, tmp_path):
    states = partial.states["macro"][1:][:, [0, 2]].astype(np.float32)
    for dataset in both_readers(partial):
        assert np.array_equal(dataset.macro, states)
        np.testing.assert_allclose(dataset.macro.mean(("layer", "position")), states.mean(axis=(0, 1)), rtol=1e-6)
        assert not any(np.isnan(dataset[name]).any() for name in ("macro", "micro", "micro_state"))
        assert np.array_equal(dataset.token_id, partial.tokens[:, [0, 2]])
        assert np.array_equal(dataset.all_token_id, partial.tokens)
        joined = dataset.micro.compute().sel(token=dataset.token_id.compute()).transpose(*dataset.micro_state.dims)
        assert np.array_equal(dataset.micro_state, joined)
        dataset.macro.sel(layer=1, position=2).to_netcdf(tmp_path / "one.nc")
    assert "all_token_id" not in ie_store.open_store(make(tmp_path / "whole").write().store, "model/corpus")


def test_stored_layers_align_with_the_layers_of_others(partial):
    dataset, plain = ie_store.open_store(partial.store, partial.name), xr.open_zarr(partial.path, consolidated=False)
    for other in (plain, plain.isel(layer=[1, 2]), dataset.isel(layer=[1])):
        difference = dataset.macro - other.macro
        assert difference.layer.values.tolist() == [layer for layer in (1, 2) if layer in other.layer]
        assert float(abs(difference).max()) == 0
    weights = xr.DataArray([1.0, 2.0, 3.0], coords={"layer": [0, 1, 2]}, dims="layer")
    assert (dataset.macro * weights).layer.values.tolist() == [1, 2]
    assert (weights * dataset.macro).layer.values.tolist() == [1, 2]
    merged = xr.concat([dataset.micro, plain.micro.isel(layer=[0]).drop_vars("position", errors="ignore")], dim="layer")
    assert merged.layer.values.tolist() == [1, 2, 0]


LABELS = {
    "licence": np.array(["CC BY 4.0", "", "MIT"] * 7),
    "language": np.array(["en", "de", "日本語"] * 7),
    "title": np.array(["x" * 500, "y", "z"] * 7),
    "year": np.arange(21, dtype=np.int16) % 2,
    "score": np.linspace(0, 1, 21),
    "seen": np.arange(21) % 2 == 0,
}


def test_labels_are_texts_and_numbers(tmp_path):
    made = make(tmp_path / "s", labels=LABELS).write()
    for dataset in (ie_store.open_store(made.store, made.name), xr.open_dataset(made.path, engine="ie_store", chunks={})):
        for name, values in LABELS.items():
            assert dataset[name].values.tolist() == values.tolist()
            assert dataset[name].attrs["long_name"] == f"label {name} of the source"
            assert not set(dataset[name].attrs) & {"categories", "flag_values", "flag_meanings"}
        chosen = LABELS["licence"] == "MIT"
        assert np.array_equal(dataset.licence == "MIT", chosen)
        both = (dataset.licence == "MIT") & (dataset.language == "日本語") & (dataset.year == 0)
        assert np.array_equal(both, chosen & (LABELS["year"] == 0))
        assert np.array_equal(dataset.sel(sequence=dataset.licence == "MIT").macro, made.states["macro"][:, :, chosen])
    assert [dataset[name].dtype for name in ("year", "score", "seen")] == [np.int16, np.float64, np.bool_]
    plain = xr.open_zarr(made.path, consolidated=False)
    assert plain.licence.dtype == np.int32
    assert plain.licence.attrs["categories"] == ["", "CC BY 4.0", "MIT"]


@pytest.mark.slow
@pytest.mark.parametrize("name", LABELS)
def test_group_by_a_label(tmp_path, name):
    made = make(tmp_path / "s", labels=LABELS).write()
    states = made.states["macro"].astype(np.float64)
    for dataset in (ie_store.open_store(made.store, made.name), xr.open_dataset(made.path, engine="ie_store")):
        means = dataset.macro.groupby(name).mean()
        assert sorted(means[name].values.tolist()) == sorted(set(LABELS[name].tolist()))
        for value in set(LABELS[name].tolist()):
            truth = states[:, :, LABELS[name] == value].mean(axis=2)
            np.testing.assert_allclose(means.sel({name: value}).transpose("layer", "position", "hidden"), truth, atol=1e-5)
    pairs = ie_store.open_store(made.store, made.name).macro.groupby(["licence", "year"]).mean()
    assert dict(pairs.sizes)["licence"] * dict(pairs.sizes)["year"] == 6


def changed_attributes(**changes):
    def change(label):
        path = label / "zarr.json"
        document = json.loads(path.read_text())
        for name, value in changes.items():
            document["attributes"].pop(name, None) if value is None else document["attributes"].update({name: value})
        path.write_text(json.dumps(document))

    return change


def written(codes):
    return lambda label: (label / "c/0").write_bytes(with_checksum(codes))


def flipped(label):
    raw = bytearray((label / "c/0").read_bytes())
    raw[4] ^= 1
    (label / "c/0").write_bytes(raw)


DAMAGE = {
    "code beyond the last": written(np.full(21, 3, "<i4")),
    "negative code": written(-np.ones(21, "<i4")),
    "flipped bit": flipped,
    "no chunk": lambda label: (label / "c/0").unlink(),
    "no metadata": lambda label: (label / "zarr.json").unlink(),
    "no categories": changed_attributes(categories=None),
    "no flags at all": changed_attributes(categories=None, flag_values=None, flag_meanings=None),
    "no attributes": changed_attributes(categories=None, flag_values=None, flag_meanings=None, long_name=None),
    "too few categories": changed_attributes(categories=["a"]),
    "categories that are numbers": changed_attributes(categories=[1, 2, 3]),
    "categories that are a text": changed_attributes(categories="abc"),
    "the same category twice": changed_attributes(categories=["a", "a", "b"]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_labels_are_an_error(tmp_path, damage):
    made = make(tmp_path / "s", labels={"who": np.array(list("abc") * 7)}).write()
    DAMAGE[damage](Path(made.path, "who"))
    with pytest.raises(StoreError, match="who"):
        ie_store.open_store(made.store, made.name)
    with pytest.raises(StoreError, match="who"):
        xr.open_dataset(made.path, engine="ie_store").who.load()


@pytest.mark.parametrize("label", ["macro", "token", "../../other", "/etc", ".lock", "\x1b[2J"])
def test_a_label_cannot_take_the_place_of_another_array(tmp_path, label):
    made = make(tmp_path / "s", labels={"who": np.arange(21)}).write()
    path = Path(made.path, "zarr.json")
    values = json.loads(path.read_text())["attributes"] | {"labels": [label]}
    del values["digest"]
    path.write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": values | {"digest": digest(values)}}))
    with pytest.raises(StoreError, match="names a label") as caught:
        ie_store.open_store(made.store, made.name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("file", ["token_id", "token"])
def test_tokens_that_contradict_each_other_are_an_error(tmp_path, file):
    made = make(tmp_path / "s").write()
    values = made.tokens + 1 if file == "token_id" else np.unique(made.tokens)[::-1]
    chunk = next(path for path in Path(made.path, file, "c").rglob("0") if path.is_file())
    chunk.write_bytes(with_checksum(np.ascontiguousarray(values, "<i4")))
    with pytest.raises(StoreError, match=rf"{file}.*(fingerprint|distinct values)"):
        ie_store.open_store(made.store, made.name).micro_state.load()


def test_states_are_verified_unless_told_otherwise(tmp_path):
    made = make(tmp_path / "s", rows=64, size=64, hidden=64)
    made.states["macro"] = np.random.default_rng(1).integers(0, 2**15, (3, 3, 64, 64), np.uint16).view(np.float16)
    made.write()
    (shard,) = Path(made.path, "macro/c/0/0").rglob("0/0")
    raw = bytearray(shard.read_bytes())
    raw[16 + 7] ^= 1  # behind the first chunk's header
    shard.write_bytes(raw)
    for dtype in ("float32", "stored"):
        for dataset in both_readers(made, dtype=dtype):
            with pytest.raises(StoreError, match="layer 0, position 0"):
                dataset.macro.load()
            assert np.array_equal(dataset.macro[1], made.states["macro"][1], equal_nan=True)
        for dataset in both_readers(made, dtype=dtype, verify=False):
            different = dataset.macro.values.astype(np.float16).view(np.uint16) != made.states["macro"].view(np.uint16)
            assert different[0, 0, 0, 3]


def test_other_places_of_a_store_say_what_they_are(tmp_path):
    made = make(tmp_path / "s").write()
    for path in (made.store, f"{made.store}/model", f"{made.store}/"):
        with pytest.raises(StoreError, match="is a store or a model's group in one, not a dataset: give STORE/MODEL/CORPUS"):
            xr.open_dataset(path, engine="ie_store")
    for inside in ("macro", "ledger", "estimates", "ledger/macro"):
        with pytest.raises(StoreError, match=f"lies in the dataset {made.path}: give that path"):
            xr.open_dataset(f"{made.path}/{inside}", engine="ie_store")


@pytest.mark.parametrize("kind", ["pipe", "device", "terabyte", "deep", "list"])
def test_recognising_a_dataset_never_hangs(tmp_path, kind):
    path = tmp_path / "zarr.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "terabyte":
        with path.open("wb") as file:
            file.truncate(2**40)
    else:
        path.write_text("[" * 100_000 if kind == "deep" else "[]")
    assert IeStoreBackend().guess_can_open(tmp_path) is False
    assert IeStoreBackend().guess_can_open(str(tmp_path)) is False
    for other in (path, "s3://bucket/m/c", "https://example.org/a.nc", b"CDF", object(), tmp_path / "none"):
        assert IeStoreBackend().guess_can_open(other) is False
