"""Results by the name of their estimator: what plain Zarr holds, as one tree and as tables."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from made_store import make
from planted_results import plant

import ie_store
from ie_store.errors import InputError, StoreError
from ie_store.estimators import estimator_spec
from ie_store.profiles import profile_method
from ie_store.specs import Emergence, MIEstimate, Outcome, Problem
from ie_store.store.results.estimate_variables import CURVE_VALUES, emergence_pieces, estimate_pieces
from ie_store.store.results.group import group_name
from ie_store.variables import Variable, coordinate, piece

NOISE, STRONG, MINE = estimator_spec("noise"), estimator_spec("noise", sigma=8.0), estimator_spec("mine", steps=50)
FLAG = "macro: few\x1b[31m"


def plant_estimates(made, spec, nats, outcome=Outcome.CERTIFIED, flags=None, pieces=()):
    common = {"estimator": spec.name, "ceiling_nats": 2.0, "ceiling_population_nats": None, "outcome": outcome}
    common |= {"interval_nats": (nats - 0.1, nats + 0.1), "standard_error_nats": 0.05}
    estimates = {
        Problem(level=level, block=1, position=t): MIEstimate(nats=nats, **common) for level in ("macro", "micro") for t in (0, 2)
    }
    emergences = [Emergence(block=1, position=t, ie_nats=0.0, macro_nats=nats, micro_nats=nats, **common) for t in (0, 2)]
    plant(made, spec.identity, (*estimate_pieces(estimates), *pieces), emergence_pieces(emergences), flags)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = make(tmp_path_factory.mktemp("stores") / "store").write()
    curve = (coordinate("sigma", (1.0, 4.0)), piece(CURVE_VALUES["macro"], ((1,), (2,), (0, 1)), [1.5, 1.0]))
    plant_estimates(made, NOISE, 1.0, flags={"ie/1/2": (FLAG, "micro: none"), "macro/1/2": ("hidden",)}, pieces=curve)
    plant_estimates(made, STRONG, 0.5)
    plant_estimates(made, MINE, 1.5, Outcome.SATURATED)
    spectrum = profile_method("spectrum")
    rank = spectrum.row.variable("effective_rank")
    plant(made, spectrum.identity, [piece(rank, ((0, 2), (1,)), [[5.0], [6.0]])], flags={"layer/2/1": ("flat",)})
    mine = Variable(name="probe", dimensions=("layer",), long_name="accuracy", units="1")
    for source in ("a/b", "c"):
        plant(made, {"name": "own", "source": source}, [piece(mine, ((0,),), [0.5])])
    return made


@pytest.fixture(scope="module")
def estimates(made):
    return ie_store.open_estimates(made.store, made.name)


def test_nodes_have_the_names_of_estimators_and_the_values_of_the_store(made, estimates):
    assert list(estimates.children) == [
        "noise", "noise (sigma 8)", "mine", "spectrum", "own (source a|b)", "own (source c)"
    ]  # fmt: skip
    for node in estimates.children.values():
        plain = xr.open_zarr(f"{made.path}/estimates/{node.attrs['results']}", consolidated=False)
        for name in plain.variables.keys() - {"outcome_macro", "outcome_micro", "outcome_ie"}:
            np.testing.assert_array_equal(node[name].values, plain[name].values)
            assert node[name].dims == plain[name].dims
    assert estimates["noise"].attrs["results"] == group_name(NOISE.identity)
    assert json.loads(estimates["noise"].attrs["options"])["sigma"] == 4
    assert estimates["mine"].attrs["label"] == "mine (steps 50)"
    assert estimates["noise"].mi_macro.attrs["units"] == "nat"
    assert (estimates.attrs["name"], estimates.attrs["model"]) == (made.name, "m")


def test_outcomes_and_flags_are_texts(estimates):
    noise = estimates["noise"]
    assert noise.outcome_macro.sel(block=1, position=2).item() == "certified"
    assert noise.outcome_macro.sel(block=0, position=0).item() == ""
    assert noise.flags.sel(block=1, position=2).item() == r"macro: few\x1b[31m; micro: none"
    assert noise.flags.sel(block=1, position=0).item() == ""
    assert estimates["spectrum"].flags.sel(layer=2, position=1).item() == "flat"


def test_one_tidy_table_of_all_estimators(estimates):
    table = estimates.to_dataframe()
    assert list(table.columns[:5]) == ["estimator", "block", "position", "mi_macro", "mi_macro_low"]
    found = [tuple(row) for row in table[["estimator", "block", "position", "mi_macro", "outcome_macro"]].values]
    assert found == [
        (name, 1, position, nats, outcome)
        for name, nats, outcome in (
            ("noise", 1.0, "certified"), ("noise (sigma 8)", 0.5, "certified"), ("mine", 1.5, "saturated")
        )
        for position in (0, 2)
    ]  # fmt: skip


def test_tables_of_a_node_of_other_dimensions_and_of_what_was_selected(estimates):
    assert len(estimates["noise"].to_dataframe()) == 2
    curve = estimates["noise"].to_dataframe("layer", "position", "sigma")
    assert curve.to_dict("records") == [
        {"layer": 1, "position": 2, "sigma": 1.0, "macro_curve_nats": 1.5},
        {"layer": 1, "position": 2, "sigma": 4.0, "macro_curve_nats": 1.0},
    ]
    assert estimates["spectrum"].to_dataframe().effective_rank.tolist() == [5.0, 6.0]
    assert estimates.sel(position=2).to_dataframe()[["estimator", "block", "position"]].values.tolist() == [
        ["noise", 1, 2], ["noise (sigma 8)", 1, 2], ["mine", 1, 2]
    ]  # fmt: skip
    assert estimates["noise"].sel(position=2, block=1).to_dataframe()["mi_macro"].tolist() == [1.0]
    assert estimates.to_dataframe("layer", "position", "sigma").estimator.tolist() == ["noise", "noise"]
    with pytest.raises(InputError, match=r"nothing is over \(sequence\); there are variables over \(block, position\)"):
        estimates["noise"].to_dataframe("sequence")


def test_attributes_are_of_plain_types(estimates):
    for node in estimates.subtree:
        assert {type(value) for value in node.attrs.values()} <= {str, int}
        for variable in node.variables.values():
            assert {type(value) for value in variable.attrs.values()} <= {str}
            assert variable.dtype.kind in "fiU"


def test_a_dataset_without_results_says_so(tmp_path):
    made = make(tmp_path / "store").write()
    with pytest.raises(InputError, match="has no estimates yet; make some with: ie-store estimate"):
        ie_store.open_estimates(made.store, made.name)
    with pytest.raises(StoreError, match="is not a dataset"):
        ie_store.open_estimates(made.store, "m/none")


def test_results_whose_arrays_do_not_fit_together_are_refused(made, tmp_path):
    copy = shutil.copytree(made.store, tmp_path / "copy")
    document = Path(copy, made.name, "estimates", group_name(NOISE.identity), "mi_macro", "zarr.json")
    document.write_text(document.read_text().replace('"block"', '"layer"'))
    with pytest.raises(StoreError, match="does not fit together"):
        ie_store.open_estimates(str(copy), made.name)
