"""The published contract: made from the code, obeyed by a freshly written store, and able to refuse."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from ie_store.corpus.make import make_corpus
from ie_store.estimators import estimator_spec
from ie_store.specs import DatasetIdentity, Emergence, MIEstimate, ModelSpec, Outcome, Problem, StoreLayout
from ie_store.store.dataset.handle import open_dataset
from ie_store.store.dataset.writer import open_writer
from ie_store.store.results.estimate_variables import emergence_pieces, estimate_pieces
from ie_store.store.results.records import Record
from ie_store.store.results.show import show_results
from ie_store.store.results.writer import open_results

SCHEMAS = Path(__file__).parents[2] / "schemas"
NAME = "tiny/ids"
SESSION = {"versions": {"ie-store": "0.1.0"}, "device": "cpu"}

INVALID = {
    "dataset--unknown-dtype": ("enum", "identity/layout/stored_dtype"),
    "dataset--newer-format": ("enum", "ie_store_format"),
    "dataset--no-corpus": ("required", ""),
    "dataset--stranger": ("additionalProperties", ""),
    "dataset--short-digest": ("pattern", "identity/model/weights_digest"),
    "dataset--no-rows": ("minimum", "corpus/num_sequences"),
    "dataset--text-for-positions": ("type", "identity/layout/positions"),
    "group--no-format": ("required", ""),
    "ledger--sessions-not-listed": ("type", "sessions"),
    "results--misspelt-estimator": ("oneOf", "estimator"),
    "results--flag-not-listed": ("type", "flags/macro/0/1"),
    "show--nan-as-text": ("type", "estimates/0/ie_nats"),
    "show--one-sided-interval": ("minItems", "estimates/0/interval_nats"),
    "show--three-ended-interval": ("items", "estimates/0/interval_nats"),
    "show--unknown-outcome": ("enum", "estimates/0/outcome"),
    "show--negative-block": ("minimum", "estimates/0/block"),
    "against--no-interval": ("required", "estimates/0"),
    "mi-estimate--no-ceiling": ("required", ""),
    "arrays--axes-swapped": ("const", "macro/dimension_names"),
    "arrays--wide-tokens": ("enum", "token_id/data_type"),
    "arrays--no-micro": ("oneOf", ""),
}
"""Rule that refuses each invalid example, and where (the path of a JSON pointer)."""


def schema(name):
    return json.loads((SCHEMAS / f"{name}.schema.json").read_text())


def errors(name, value):
    """Rule and place of everything in ``value`` that the schema refuses."""
    found = jsonschema.Draft202012Validator(schema(name)).iter_errors(value)
    return [(error.validator, "/".join(map(str, error.absolute_path))) for error in found]


@pytest.fixture(params=["float16", "bfloat16"])
def store(request, tmp_path):
    """A store with one complete dataset, written by our own writers."""
    np.save(tmp_path / "ids.npy", np.array([[1, 2, 3], [1, 2, 4], [0, 2, 3]]))
    corpus = make_corpus(f"tokens:{tmp_path}/ids.npy", tokenizer=None, vocab_size=9)
    model = ModelSpec(
        id="tiny",
        revision=None,
        weights_digest="0" * 64,
        tokenizer_digest=None,
        num_blocks=1,
        hidden_size=4,
        vocab_size=9,
        compute_dtype="float32",
        attention="sdpa",
        bos="none",
    )
    layout = StoreLayout(
        num_layers=2,
        num_positions=3,
        num_sequences=3,
        num_tokens=5,
        hidden_size=4,
        stored_dtype=request.param,
        layers=(0, 1),
        positions=(0, 1, 2),
        rows_per_shard=4,
        tokens_per_shard=8,
        shards_per_group=1,
        rows_per_batch=4,
    )
    identity = DatasetIdentity(model=model, corpus_fingerprint=corpus.spec.fingerprint, recipe=corpus.spec.recipe, layout=layout)
    path = str(tmp_path / "store")
    rows = {"tokens": corpus.tokens, "source_row": corpus.source_row, "labels": corpus.labels}
    with open_writer(path, NAME, identity=identity, corpus=corpus.spec, **rows, session=SESSION) as writer:
        dtype = np.uint16 if request.param == "bfloat16" else np.float16
        writer.write_shard(layout.shard("macro", 0), np.ones((2, 3, 3, 4), dtype=dtype))
        writer.write_shard(layout.shard("micro", 0), np.ones((2, 5, 4), dtype=dtype))
        writer.mark_complete({"rows": 3, "relative_error": {"0": 1e-4, "1": 2e-4}})
    write_results(path)
    return Path(path)


def estimate():
    return MIEstimate(
        estimator="mine",
        nats=0.6,
        interval_nats=(0.5, 0.7),
        standard_error_nats=0.05,
        ceiling_nats=1.0,
        ceiling_population_nats=None,
        outcome=Outcome.CONVERGED,
        flags=("few rows",),
        diagnostics={"num_test": 3.0},
    )


def write_results(path):
    emergence = Emergence(
        estimator="mine",
        block=0,
        position=1,
        ie_nats=0.0,
        interval_nats=(-0.1, 0.1),
        macro_nats=0.6,
        micro_nats=0.6,
        ceiling_nats=0.3,
        ceiling_population_nats=None,
        outcome=Outcome.CONVERGED,
    )
    results = open_results(open_dataset(path, NAME), estimator_spec("mine").identity)
    pieces = estimate_pieces({Problem(level=level, block=0, position=1): estimate() for level in ("macro", "micro")})
    flags = {f"{level}/0/1": ("few rows",) for level in ("macro", "micro")}
    with results.hold_run():
        results.commit(Record(item="all", session=SESSION, flags=flags, pieces=tuple(pieces)))
        results.assemble(lambda arrays, flags: (emergence_pieces([emergence]), {}))


def written(store):
    """Every document of the contract as the store holds it: (schema, value)."""
    documents = {str(path.parent.relative_to(store)): json.loads(path.read_text()) for path in store.rglob("zarr.json")}
    kinds = {".": "group", "tiny": "group", NAME: "dataset", f"{NAME}/ledger": "ledger"}
    for folder, document in documents.items():
        if document["node_type"] == "group" and folder != f"{NAME}/estimates":
            yield kinds.get(folder, "results"), document["attributes"]
    arrays = {folder: document for folder, document in documents.items() if document["node_type"] == "array"}
    yield "arrays", {folder.split("/")[2]: document for folder, document in arrays.items() if folder.count("/") == 2}
    yield "show", show_results(str(store), NAME)


def test_the_schemas_are_those_of_the_code(tmp_path):
    subprocess.run([sys.executable, SCHEMAS / "make.py", tmp_path], check=True, timeout=60)
    made, published = ({path.name: path.read_text() for path in folder.glob("*.schema.json")} for folder in (tmp_path, SCHEMAS))
    assert published == made, "the contract has changed: run python schemas/make.py and say so in the changelog"


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.schema.json")), ids=lambda path: path.name)
def test_each_schema_is_one_and_has_an_example(path):
    jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text()))
    assert list((SCHEMAS / "examples/valid").glob(f"{path.name.split('.')[0]}*.json"))
    assert list((SCHEMAS / "examples/invalid").glob(f"{path.name.split('.')[0]}--*.json"))


@pytest.mark.parametrize("path", sorted((SCHEMAS / "examples/valid").glob("*.json")), ids=lambda path: path.stem)
def test_valid_examples_are_accepted(path):
    assert errors(path.stem.split("--")[0], json.loads(path.read_text())) == []


@pytest.mark.parametrize("name", INVALID)
def test_invalid_examples_are_refused_for_their_reason(name):
    rule, where = INVALID[name]
    value = json.loads((SCHEMAS / f"examples/invalid/{name}.json").read_text())
    assert errors(name.split("--")[0], value) == [(rule, where)]


def test_every_invalid_example_has_a_reason():
    assert {path.stem for path in (SCHEMAS / "examples/invalid").glob("*.json")} == set(INVALID)


def test_a_freshly_written_store_obeys_the_contract(store):
    found = list(written(store))
    assert {name for name, _ in found} == {"group", "dataset", "ledger", "results", "arrays", "show"}
    assert [(name, errors(name, value)) for name, value in found if errors(name, value)] == []


def test_an_estimate_obeys_the_contract():
    assert errors("mi-estimate", json.loads(json.dumps(asdict(estimate())))) == []
