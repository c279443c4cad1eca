"""Variables of a user's own: read back by us and by plain Zarr, checked, written once, refused where they cannot be."""

import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from called import ie_store as command
from called import ie_store_json

import ie_store
from ie_store.errors import InputError, StoreError
from ie_store.store.verify import verify_dataset

LINEAGE = "macro states"


def norms(dataset):
    return np.sqrt((dataset.macro**2).sum("hidden")).mean("sequence").compute().assign_attrs(long_name="mean norm", units="1")


@pytest.fixture
def dataset(made):
    return ie_store.open_store(made.store, made.name)


def test_what_is_written_is_read_by_everybody(made, dataset):
    truth = np.linalg.norm(made.states["macro"].astype(np.float32), axis=-1).mean(-1)
    group = ie_store.write_derived(dataset, "norms", {"norm": norms(dataset)}, lineage=LINEAGE, method={"version": 3})
    plain = xr.open_zarr(f"{made.path}/estimates/{group}", consolidated=False)
    np.testing.assert_allclose(plain.norm, truth, rtol=1e-6)
    assert plain.norm.attrs == {"long_name": "mean norm", "units": "1", "lineage": "macro states"}
    assert plain.attrs["estimator"] == {"name": "norms", "version": 3}
    tree, estimates = ie_store.open_store(made.store), ie_store.open_estimates(made.store, made.name)
    for found in (estimates["norms"], tree[f"{made.name}/estimates/{group}"]):
        assert np.array_equal(found.norm, plain.norm)
    assert verify_dataset(made.store, made.name).faults == []
    assert [entry["group"] for entry in ie_store_json("info", made.store, made.name)["estimates"]] == [group]


def test_show_and_info_say_what_there_is_and_how_to_open_it(made, dataset):
    for version in (1, 2):
        group = ie_store.write_derived(dataset, "norms", {"norm": norms(dataset)}, lineage=LINEAGE, method={"version": version})
    opened = f"ie_store.open_estimates({made.store!r}, {made.name!r})"
    line = "['norms (version 2)'].norm (layer, position), unit 1, from macro states: mean norm"
    for name in ("show", "info"):
        page = command(name, made.store, made.name).stdout
        assert opened in page
        assert line in page
        *_, last = ie_store_json(name, made.store, made.name)["derived"]
        assert last == {
            "node": "norms (version 2)", "variable": "norm", "results": group, "dimensions": ["layer", "position"],
            "shape": [3, 3], "dtype": "float32", "units": "1", "long_name": "mean norm", "lineage": "macro states",
        }  # fmt: skip
        assert last["variable"] in ie_store.open_estimates(made.store, made.name)[last["node"]].data_vars
    assert "has no estimates yet" in command("show", made.store, made.name).stdout
    ie_store.estimate(made.store, made.name, estimators="exact")
    assert line in command("show", made.store, made.name).stdout
    assert line not in command("show", made.store, made.name, "--estimator", "exact").stdout


def test_a_selection_goes_to_its_place_and_the_rest_can_follow(made, dataset):
    whole = norms(dataset)
    for part in (whole.isel(layer=[2], position=[1]), whole.isel(layer=[0, 1]), whole.isel(layer=[0, 1])):
        group = ie_store.write_derived(dataset, "norms", {"norm": part}, lineage=LINEAGE)
    plain = xr.open_zarr(f"{made.path}/estimates/{group}", consolidated=False).norm
    expected = whole.where((whole.layer < 2) | (whole.position == 1))
    assert np.array_equal(plain, expected, equal_nan=True)
    assert len(list(Path(made.path, "estimates", group, "position/records").iterdir())) == 2


def test_other_values_are_refused_and_another_method_stands_beside(made, dataset):
    whole = norms(dataset)
    first = ie_store.write_derived(dataset, "norms", {"norm": whole}, lineage=LINEAGE)
    with pytest.raises(InputError, match="holds other values there, and results are written once"):
        ie_store.write_derived(dataset, "norms", {"norm": whole + 1}, lineage=LINEAGE)
    with pytest.raises(InputError, match="holds another variable norm"):
        ie_store.write_derived(dataset, "norms", {"norm": whole.isel(layer=0)}, lineage=LINEAGE)
    second = ie_store.write_derived(dataset, "norms", {"norm": whole + 1}, lineage=LINEAGE, method={"version": 2})
    assert first != second
    assert verify_dataset(made.store, made.name).faults == []


def test_every_kind_of_dimension(made, dataset):
    curve = xr.DataArray(np.arange(12.0).reshape(2, 3, 2), dims=("block", "position", "sigma"), coords={"sigma": [0.5, 2.0]})
    per_row = dataset.macro.isel(layer=0, position=0, hidden=0, drop=True).astype("float32").compute()
    mask = xr.DataArray(np.arange(21) % 2 == 0, dims="sequence")
    group = ie_store.write_derived(dataset, "own", xr.Dataset({"curve": curve, "row": per_row, "even": mask}), lineage=LINEAGE)
    plain = xr.open_zarr(f"{made.path}/estimates/{group}", consolidated=False)
    assert plain.sigma.values.tolist() == [0.5, 2.0]
    assert np.array_equal(plain.curve, curve)
    assert np.array_equal(plain.row, made.states["macro"][0, 0, :, 0])
    assert plain.even.values.tolist() == [1, 0] * 10 + [1]
    found = ie_store.open_store(made.store)[f"{made.name}/estimates/{group}"]
    assert found.row.dims == ("sequence",)


@pytest.mark.parametrize(
    ("name", "variable", "message"),
    [
        ("noise", xr.DataArray([1.0, 2.0, 3.0], dims="layer"), "is the name of an estimator"),
        ("a/b", xr.DataArray([1.0, 2.0, 3.0], dims="layer"), "cannot name results"),
        ("own", xr.DataArray([1.0], dims="head"), "is over 'head'; results are over some of"),
        ("own", xr.DataArray([1.0, 2.0], dims="layer"), "has 2 values over layer without a coordinate, and the dataset has 3"),
        ("own", xr.DataArray([1.0], dims="layer", coords={"layer": [3]}), r"distinct whole numbers within 0\.\.2"),
        ("own", xr.DataArray([1.0, 2.0], dims="layer", coords={"layer": [1, 1]}), r"distinct whole numbers within 0\.\.2"),
        ("own", xr.DataArray([1.0], dims="label", coords={"label": ["a"]}), "results have numbers there"),
        ("own", xr.DataArray(["a"], dims="rank"), "results hold real numbers"),
        ("own", xr.DataArray([1j], dims="rank"), "results hold real numbers"),
        ("own", [1.0, 2.0, 3.0], "give an xarray.DataArray"),
    ],
)
def test_what_cannot_be_is_refused(made, dataset, name, variable, message):
    with pytest.raises(InputError, match=message):
        ie_store.write_derived(dataset, name, {"x": variable}, lineage=LINEAGE)
    assert not Path(made.path, "estimates").exists()


def test_names_and_lineage_are_asked_for(dataset):
    values = xr.DataArray([1.0, 2.0, 3.0], dims="layer")
    for variables, options, message in (
        ({}, {}, "has no variables"),
        ({"layer": values}, {}, "no dimension's name"),
        ({"x": values}, {"lineage": " "}, "lineage is empty"),
        ({"x": values}, {"method": {"name": "other"}}, "holds a field 'name'"),
    ):
        with pytest.raises(InputError, match=message):
            ie_store.write_derived(dataset, "own", variables, **({"lineage": LINEAGE} | options))


def test_it_is_bound_to_its_states(made, dataset):
    group = ie_store.write_derived(dataset, "norms", {"norm": norms(dataset)}, lineage=LINEAGE)
    document = json.loads(Path(made.path, "estimates", group, "zarr.json").read_text())
    plain = json.loads(Path(made.path, "zarr.json").read_text())["attributes"]
    canonical = json.dumps(plain["identity"], sort_keys=True, separators=(",", ":")).encode()
    assert document["attributes"]["activations_digest"] == hashlib.sha256(canonical).hexdigest()
    Path(made.path, "zarr.json").unlink()
    with pytest.raises(StoreError):
        ie_store.write_derived(dataset, "norms", {"norm": norms(dataset)}, lineage=LINEAGE, method={"version": 2})


def test_values_are_not_relabelled_by_more_of_them(made, dataset):
    def labelled(name, labels):
        return {name: xr.DataArray(np.arange(float(len(labels))), dims="label", coords={"label": labels})}

    write = partial(ie_store.write_derived, dataset, "mine_own", lineage=LINEAGE, method={})
    write(variables=labelled("one", [10, 20, 30]))
    with pytest.raises(InputError, match="label holds other values there"):
        write(variables=labelled("two", [10, 15, 20, 30]))
    write(variables=labelled("two", [10, 20, 30, 40]))
    found = ie_store.open_estimates(made.store, made.name)["mine_own"]
    assert found.one.sel(label=20) == 1
    assert found.two.sel(label=40) == 3


def test_large_variables_are_kept_in_several_records_and_written_once(made, dataset, monkeypatch):
    monkeypatch.setattr("ie_store.store.results.derived.MOST_VALUES", 10)
    values = xr.DataArray(
        np.arange(3.0 * 21).reshape(3, 21), dims=("label", "sequence"), coords={"label": [5, 6, 9], "sequence": np.arange(21)}
    )
    group = ie_store.write_derived(dataset, "large", {"large": values}, lineage=LINEAGE, method={})
    records = list(Path(made.path, "estimates", group, "position", "records").glob("*.json"))
    assert len(records) > 6
    found = ie_store.open_estimates(made.store, made.name)["large"].large
    np.testing.assert_array_equal(found, values)
    assert found.label.values.tolist() == [5, 6, 9]
    ie_store.write_derived(dataset, "large", {"large": values}, lineage=LINEAGE, method={})
    assert list(Path(made.path, "estimates", group, "position", "records").glob("*.json")) == records
    with pytest.raises(InputError, match="holds other values there"):
        ie_store.write_derived(dataset, "large", {"large": values + 1}, lineage=LINEAGE, method={})
    assert verify_dataset(made.store, made.name).faults == []
