"""One handle of a dataset: what it says and how it travels."""

import pickle
import subprocess
import sys

import pytest
from made_store import make

from ie_store.errors import IdentityError, InputError, StoreError
from ie_store.specs import digest
from ie_store.store.dataset import handle
from ie_store.store.dataset.handle import find_dataset, open_dataset, require_identity
from ie_store.store.files.open import open_storage
from ie_store.store.open import open_reader


def test_what_a_handle_says(made):
    dataset = open_dataset(made.store, made.name)
    assert (dataset.identity, dataset.layout) == (made.identity, made.layout)
    assert dataset.identity_digest == digest(made.identity)
    assert dataset.address == made.path
    assert dataset.key("ledger", "macro") == "model/corpus/ledger/macro"
    assert dataset.address_of("ledger") == f"{made.path}/ledger"
    assert open_dataset(dataset.files, made.name) == dataset


def test_the_digest_is_computed_once(made, monkeypatch):
    calls = []
    monkeypatch.setattr(handle, "digest", lambda identity: calls.append(identity) or digest(identity))
    reader = open_reader(made.store, made.name)
    for cell in made.layout.level("macro").stored_cells:
        reader.read_slab(made.layout.level("macro").slab(cell))
    assert len(calls) == 1


@pytest.mark.parametrize("open_it", [open_dataset, open_reader])
def test_a_handle_travels_as_its_address(made, open_it):
    opened = open_it(made.store, made.name)
    _ = getattr(opened, "tokens", None), getattr(opened, "identity_digest", None)
    sent = pickle.dumps(opened)
    assert len(sent) < 300
    assert b"fingerprint" not in sent
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).identity == pickle.loads(bytes.fromhex(sys.argv[1])))"
    identity = pickle.dumps(made.identity).hex()
    done = subprocess.run([sys.executable, "-c", code, identity], input=sent, capture_output=True, check=True)
    assert done.stdout.strip() == b"True"


def test_what_is_no_dataset(made):
    files = open_storage(made.store)
    assert find_dataset(files, "model/other") is None
    assert find_dataset(files, made.name) == open_dataset(files, made.name)
    with pytest.raises(StoreError, match="is not a dataset"):
        open_dataset(files, "model/other")
    with pytest.raises(InputError, match="is not MODEL/CORPUS"):
        open_dataset(files, "model")


def test_another_identity_is_named_field_by_field(made, tmp_path):

    dataset = open_dataset(made.store, made.name)
    require_identity(dataset, made.identity)
    with pytest.raises(IdentityError, match=r"layout\.rows_per_shard: stored 8, asked 4\n.*--as.*--replace.*ie-store rm"):
        require_identity(dataset, make(tmp_path / "other", size=4).identity)
