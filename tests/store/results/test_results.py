"""What goes into a results group comes out again, and groups that are not what they should be are refused."""

import json
import shutil
from math import isnan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_store import NAME, random_tokens, write_store

from ie_store.errors import IdentityError, InputError, StoreError
from ie_store.estimate.run import estimate
from ie_store.estimators import estimator_spec
from ie_store.options import EstimateSpec
from ie_store.specs import Emergence, MIEstimate, Outcome, Problem, digest
from ie_store.store.results.estimate_variables import emergence_pieces, emergences_of, estimate_pieces, estimates_of, values_of
from ie_store.store.results.group import results_key
from ie_store.store.results.show import read_results, show_results
from ie_store.store.verify import verify_dataset
from ie_store.variables import assemble

NOISE = estimator_spec("noise")
numbers = st.floats(-1e6, 1e6)
maybe = st.none() | numbers
flags = st.lists(st.text("abc", min_size=1), max_size=2).map(tuple)
places = {"block": st.integers(0, 2), "position": st.integers(0, 3)}
problems = st.builds(Problem, level=st.sampled_from(["macro", "micro"]), **places)
estimates = st.builds(
    MIEstimate, estimator=st.just("mine"), nats=numbers, interval_nats=st.tuples(numbers, numbers), standard_error_nats=numbers,
    ceiling_nats=maybe, ceiling_population_nats=maybe, outcome=st.sampled_from(Outcome), flags=flags,
    diagnostics=st.dictionaries(st.sampled_from(["steps", "train_nats"]), numbers),
)  # fmt: skip
emergences = st.builds(
    Emergence, estimator=st.just("mine"), ie_nats=numbers, interval_nats=st.tuples(numbers, numbers), macro_nats=numbers,
    micro_nats=numbers, ceiling_nats=numbers, ceiling_population_nats=maybe, outcome=st.sampled_from(Outcome), flags=flags,
    standard_error_nats=numbers, **places,
)  # fmt: skip


SIZES = {"block": 3, "layer": 4, "position": 4}


@given(st.dictionaries(problems, estimates, min_size=1))
def test_estimates_come_back_from_arrays(found):
    flags = {f"{p.level}/{p.block}/{p.position}": estimate.flags for p, estimate in found.items()}
    back = estimates_of(values_of(assemble(estimate_pieces(found), SIZES)), flags, "mine")
    assert back.keys() == found.keys()
    for problem, found_again in back.items():
        known = {name: value for name, value in found_again.diagnostics.items() if not isnan(value)}
        assert known == found[problem].diagnostics
        for name in ("nats", "interval_nats", "standard_error_nats", "ceiling_nats", "outcome", "flags"):
            assert getattr(found_again, name) == getattr(found[problem], name)


@given(st.lists(emergences, min_size=1, max_size=4, unique_by=lambda e: (e.block, e.position)))
def test_emergences_come_back_from_arrays(found):
    macro = {
        Problem(level="macro", block=e.block, position=e.position): MIEstimate(
            estimator="mine", nats=e.macro_nats, interval_nats=(0, 0), standard_error_nats=0, ceiling_nats=None,
            ceiling_population_nats=None, outcome=Outcome.CONVERGED,
        )
        for e in found
    }  # fmt: skip
    arrays = values_of(assemble([*estimate_pieces(macro), *emergence_pieces(found)], SIZES))
    back = emergences_of(arrays, {f"ie/{e.block}/{e.position}": e.flags for e in found}, "mine")
    assert back == sorted(found, key=lambda e: (e.block, e.position))


@pytest.fixture
def store(tmp_path):
    store = write_store(tmp_path / "store", random_tokens(80))
    estimate(EstimateSpec(store=store, name=NAME, estimators=(NOISE,)))
    return store


def test_results_of_other_activations_are_not_gone_on_with(store):
    document = Path(store, results_key(NAME, NOISE), "zarr.json")
    content = json.loads(document.read_text())
    content["attributes"]["activations_digest"] = "0" * 64
    content["attributes"]["digest"] = digest({k: v for k, v in content["attributes"].items() if k != "digest"})
    document.write_text(json.dumps(content))
    with pytest.raises(IdentityError, match="other activations"):
        estimate(EstimateSpec(store=store, name=NAME, estimators=(NOISE,)))


def test_a_damaged_result_is_named(store):
    chunk = Path(store, results_key(NAME, NOISE), "mi_macro", "c", "0", "0")
    chunk.write_bytes(chunk.read_bytes()[:-9] + b"x" * 9)
    with pytest.raises(StoreError, match=r"mi_macro.*checksum"):
        show_results(store, NAME)


@pytest.mark.parametrize(("name", "changed"), [("block", "baock"), ("float64", "flovt64")])
def test_a_record_of_a_variable_that_cannot_be_is_a_fault(store, name, changed):
    record = min(Path(store, results_key(NAME, NOISE), "position", "records").glob("*.json"))
    record.write_bytes(record.read_bytes().replace(f'"{name}"'.encode(), f'"{changed}"'.encode(), 1))
    assert any(record.name in fault and changed in fault for fault in verify_dataset(store, NAME).faults)
    with pytest.raises(StoreError, match=changed):
        estimate(EstimateSpec(store=store, name=NAME, estimators=(NOISE,)))


def test_arrays_are_made_again_from_the_records(store):
    group = Path(store, results_key(NAME, NOISE))

    def chunks():
        return {path: path.read_bytes() for path in group.rglob("c/**/0") if path.is_file()}

    before, shown = chunks(), show_results(store, NAME)
    shutil.rmtree(group / "ie_low")
    chunk = group / "mi_macro" / "c" / "0" / "0"
    chunk.write_bytes((group / "mi_macro_low" / "c" / "0" / "0").read_bytes())  # whole, and another's
    assert any("exchanged" in fault or "no array" in fault for fault in verify_dataset(store, NAME).faults)
    with pytest.raises(StoreError):
        show_results(store, NAME)
    estimate(EstimateSpec(store=store, name=NAME, estimators=(NOISE,)))
    assert chunks() == before
    assert show_results(store, NAME) == shown
    assert verify_dataset(store, NAME).faults == []


def test_attributes_that_others_add_stay(store):
    document = Path(store, results_key(NAME, NOISE), "mi_macro", "zarr.json")
    content = json.loads(document.read_text())
    content["attributes"]["seen_by"] = "me"
    document.write_text(json.dumps(content))
    estimate(EstimateSpec(store=store, name=NAME, estimators=(NOISE,)))
    assert json.loads(document.read_text())["attributes"]["seen_by"] == "me"
    assert verify_dataset(store, NAME).faults == []


def test_an_array_that_is_gone_is_named(store):
    shutil.rmtree(Path(store, results_key(NAME, NOISE), "ie_low"))
    with pytest.raises(StoreError, match="no array 'ie_low'"):
        show_results(store, NAME)


def test_a_missing_shard_is_named(store):
    for shard in Path(store, NAME, "macro", "c").rglob("1"):
        shutil.rmtree(shard, ignore_errors=True)
    with pytest.raises(StoreError, match="shard 1"):
        estimate(EstimateSpec(store=store, name=NAME, estimators=(estimator_spec("noise", scale="rms"),)))


def test_unknown_stores_and_names_are_refused(store, tmp_path):
    with pytest.raises(StoreError, match="not a store"):
        show_results(str(tmp_path / "elsewhere"), NAME)
    with pytest.raises(StoreError, match="not a dataset"):
        show_results(store, "toy/nothing")
    with pytest.raises(InputError, match="MODEL/CORPUS"):
        show_results(store, "toy")


def test_options_are_identity_and_only_an_estimators_own_are_taken(store):
    assert results_key(NAME, estimator_spec("noise", sigma=4.0)) == results_key(NAME, NOISE)
    assert results_key(NAME, estimator_spec("noise", max_draws=60)) != results_key(NAME, NOISE)
    assert results_key(NAME, estimator_spec("mine", seed=1)) != results_key(NAME, estimator_spec("mine"))
    for name, options in (("noise", {"steps": 7}), ("mine", {"scale": "rms"}), ("exact", {"seed": 1}), ("cca", {"steps": 7})):
        with pytest.raises(InputError, match=f"not an option of {name}"):
            estimator_spec(name, **options)
    assert len(read_results(store, NAME, NOISE)) == 2 + 6
