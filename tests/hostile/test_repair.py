"""What is damaged is fixed by the command that the messages name, bit for bit, and nothing else is touched."""

import functools
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from called import ie_store, ie_store_json
from test_changed_bytes import flip
from tiny_models import BLOCKS, HIDDEN, prefix_rows, save_tiny

import ie_store.extract.prepare as job
from ie_store.errors import REPAIR, StoreError
from ie_store.extract import perform
from ie_store.extract.layout import choose_layout
from ie_store.store.format.shard_index import parse_index
from ie_store.store.open import open_reader
from ie_store.store.verify import verify_dataset

NAME = "llama/rows"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Arguments of the command but for the store, and a store of 6 macro and several micro shards."""
    folder = tmp_path_factory.mktemp("made")
    np.save(folder / "rows.npy", prefix_rows())
    command = ("--model", save_tiny(folder, "llama"), "--corpus", f"tokens:{folder / 'rows.npy'}", "--as", NAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "choose_layout", functools.partial(choose_layout, shard_bytes=4 * 9 * (BLOCKS + 1) * HIDDEN * 2))
        assert ie_store("extract", folder / "store", *command).exit_code == 0
        yield folder / "store", command


@pytest.fixture
def store(made, tmp_path):
    return Path(shutil.copytree(made[0], tmp_path / "store"))


@pytest.fixture
def extract(made, store):
    return lambda *more: ie_store("extract", store, *made[1], *more)


def tree(store):
    """Bytes of every file but for those that say which run wrote a shard."""
    files = {str(path.relative_to(store)): path for path in store.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if "session" not in name and "ledger/zarr.json" not in name}


def flipped(store):
    path = store / NAME / "macro/c/0/0/2/0"
    offset = int(parse_index(path.read_bytes(), (BLOCKS + 1, 9), "")[1, 1, 0])
    flip(path, offset + 40, 3)
    return 1


def swapped(store):
    for key in ("macro/c/0/0/{}/0", "ledger/macro/c/{}/0/0"):
        one, other = (store / NAME / key.format(number) for number in (0, 3))
        held = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(held)
    return 2


def broken_indices(store):
    for path in (store / NAME / "macro/c/0/0/1/0", store / NAME / "micro/c/0/1/0"):
        flip(path, path.stat().st_size - 9, 0)
    return 2


def broken_entry(store):
    flip(store / NAME / "ledger/micro/c/0/0", 5, 1)
    return 1


def deleted(store):
    (store / NAME / "macro/c/0/0/5/0").unlink()
    (store / NAME / "ledger/macro/c/4/0/0").unlink()
    return 2


def truncated(store):
    path = store / NAME / "micro/c/0/0/0"
    path.write_bytes(path.read_bytes()[:-50])
    return 1


def foreign_rows(store):
    rows = zarr.open_group(f"{store}/{NAME}", mode="r+", use_consolidated=False)
    rows["source_row"][...] = rows["source_row"][...][::-1]
    return 0


def broken_arrays(store):
    flip(store / NAME / "token_id/c/0/0", 5, 1)
    shutil.rmtree(store / NAME / "sequence")
    (store / NAME / "macro/zarr.json").write_text("{")
    return 0


DAMAGES = (flipped, swapped, broken_indices, broken_entry, deleted, truncated, foreign_rows, broken_arrays)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_repair_brings_back_every_byte(store, extract, damage):
    before = tree(store)
    num_shards = damage(store)
    assert tree(store) != before
    found = ie_store("verify", store, NAME)
    assert found.exit_code == 2
    assert REPAIR in found.output
    fixed = extract("--repair", "--json")
    assert fixed.exit_code == 0, fixed.output
    assert f'"num_shards": {num_shards}, "num_bytes"' in fixed.output
    assert tree(store) == before
    assert verify_dataset(str(store), NAME).faults == []
    assert open_reader(str(store), NAME).complete
    again = extract("--repair")
    assert "nothing to do" in again.output


def test_without_repair_only_what_is_missing_is_made(store, extract):
    flipped(store)
    assert "nothing to do" in extract().output
    assert ie_store("verify", store, NAME).exit_code == 2


def test_a_plan_with_repair_counts_damaged_shards_and_touches_nothing(made, store):
    flipped(store)
    broken_entry(store)
    before = tree(store)
    for more, missing in (((), 1), (("--repair",), 2)):
        assert ie_store_json("plan", store, *made[1], *more)["missing_shards"] == missing
    assert tree(store) == before


def test_repair_that_is_cut_off_leaves_an_incomplete_dataset_that_resumes(store, extract, monkeypatch):
    before = tree(store)
    flipped(store)
    real = perform._compute_and_write

    def stop(*arguments):
        raise StoreError("pulled")

    monkeypatch.setattr(perform, "_compute_and_write", stop)
    assert extract("--repair").exit_code == 2
    reader = open_reader(str(store), NAME)
    assert not reader.complete
    assert reader.missing_shards("macro") == [2]
    monkeypatch.setattr(perform, "_compute_and_write", real)
    assert extract().exit_code == 0
    assert tree(store) == before


def test_repair_of_another_identity_is_refused_and_touches_nothing(made, store):
    flipped(store)
    before = tree(store)
    result = ie_store("extract", store, *made[1], "--repair", "--dtype", "float32")
    assert result.exit_code == 2
    assert "was made from something else" in result.output
    assert tree(store) == before


def test_repair_of_an_incomplete_dataset_checks_what_it_has(store, extract):
    before = tree(store)
    flipped(store)
    deleted(store)
    assert extract("--repair").exit_code == 0
    assert tree(store) == before
