"""``ie-store profile`` as a user meets it."""

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
from called import ie_store, ie_store_json

NAME = "tiny-gpt2/rows"


@pytest.fixture
def own_store(store, tmp_path):
    return shutil.copytree(store, tmp_path / "store")


def test_profile_prints_a_table_each_and_writes_what_info_and_verify_know(own_store):
    result = ie_store("profile", own_store, NAME)
    assert result.exit_code == 0, result.output
    for word in ("spectrum (eigenvalues 64", "neighbours (rows 20000", "w/o first", "TwoNN", "fewer than 1,000"):
        assert word in result.output
    assert "spectrum-" in ie_store("info", own_store, NAME).output
    assert "no faults" in ie_store("verify", own_store, NAME).output
    assert ie_store("show", own_store, NAME).exit_code == 0


def test_profile_in_json_has_numbers_and_none(own_store):
    found = ie_store_json("profile", own_store, NAME, "--profile", "spectrum", "--layers", "1,last", "--eigenvalues", "5")
    (spectrum,) = found["profiles"]
    assert spectrum["options"]["eigenvalues"] == 5
    assert [row["layer"] for row in spectrum["layers"]] == [1, 3]
    assert len(spectrum["layers"][0]["eigenvalue_share"]) == 5
    assert spectrum["rank"] == [0, 1, 2, 3, 4]


def test_attributes_of_a_profile_obey_the_published_contract(own_store):
    found = ie_store_json("profile", own_store, NAME, "--layers", "1")
    schema = json.loads((Path(__file__).parents[2] / "schemas" / "results.schema.json").read_text())
    for one in found["profiles"]:
        attributes = json.loads((own_store / NAME / "estimates" / one["results"] / "zarr.json").read_text())["attributes"]
        jsonschema.validate(attributes, schema, cls=jsonschema.Draft202012Validator)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(attributes | {"estimator": {"name": one["profile"]}}, schema)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "spectra"], "did you mean 'spectrum'"),
        (["--profile", "spectrum", "--seed", "1"], "--seed is an option of neighbours, not of spectrum"),
        (["--layers", "9"], "outside 0..3"),
        (["--positions", "x"], "neither a number"),
        (["--massive", "0.5"], "above 1"),
        (["--rows", "10"], "at least 1000"),
        (["--device", "tpu"], "not known"),
    ],
)
def test_bad_input_ends_with_a_sentence_and_leaves_the_store_alone(own_store, arguments, message):
    before = sorted(own_store.rglob("*"))
    result = ie_store("profile", own_store, NAME, *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert sorted(own_store.rglob("*")) == before
