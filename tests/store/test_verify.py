"""Stores broken on purpose: every fault is found and said."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from made_store import make

from ie_store.errors import StoreError
from ie_store.options import ignore_progress
from ie_store.specs import Slab
from ie_store.store.dataset.handle import open_dataset
from ie_store.store.dataset.repair import damaged_shards
from ie_store.store.open import open_reader
from ie_store.store.verify import verify_dataset


def faults(made):
    return verify_dataset(made.store, made.name).faults


def flip(path, offset):
    held = bytearray(path.read_bytes())
    held[offset] ^= 0x10
    path.write_bytes(held)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_whole_datasets_have_no_faults(tmp_path, dtype):
    made = make(tmp_path / "s", dtype=dtype, layers=(0, 2), positions=(1, 2), labels={"who": np.array(list("abc") * 7)}).write()
    seen = []
    report = verify_dataset(made.store, made.name, seen.append)
    assert report.faults == []
    assert (report.num_shards, report.num_chunks) == (5, 3 * 4 + 2 * 2)
    assert [progress.done for progress in seen] == list(range(1, 17))
    assert seen[-1].total == 16
    assert seen[-1].num_bytes == report.num_bytes


@pytest.mark.slow
def test_every_flipped_bit_of_a_shard_is_found(made):
    path = Path(made.path) / "macro/c/0/0/1/0"
    table = open_reader(made.store, made.name)._table("macro")
    covered = set()
    for layer in range(3):
        for position in range(3):
            table.extents((layer, position), range(3))
            offset, length = table.extents((layer, position), range(1, 2))[0]
            flip(path, offset + length // 2)
            found = faults(made)
            assert len(found) == 1
            assert f"macro shard 1, layer {layer}, position {position} is damaged" in found[0]
            with pytest.raises(StoreError, match=rf"shard 1, layer {layer}, position {position}\) is damaged"):
                open_reader(made.store, made.name).read_slab(Slab(level="macro", layer=layer, position=position), verify=True)
            flip(path, offset + length // 2)
            covered |= set(range(offset, offset + length))
    for offset in range(path.stat().st_size):
        if offset in covered and offset % 7:
            continue
        flip(path, offset)
        padding = offset not in covered and offset < max(covered)
        assert bool(faults(made)) != padding, f"byte {offset}"
        flip(path, offset)
    assert faults(made) == []


def test_truncated_at_any_length(made):
    path = Path(made.path) / "micro/c/0/1/0"
    held = path.read_bytes()
    for length in range(0, len(held), 5):
        path.write_bytes(held[:length])
        assert any("micro shard 1" in fault for fault in faults(made)), f"length {length}"
        with pytest.raises(StoreError):
            open_reader(made.store, made.name).read_slab(Slab(level="micro", layer=2, position=None))


def test_deleted_and_swapped_shards(made):
    first, second = (Path(made.path) / f"macro/c/0/0/{index}/0" for index in (0, 1))
    held = first.read_bytes()
    first.unlink()
    assert [fault for fault in faults(made) if "macro shard 0" in fault and "is missing" in fault]
    shutil.copy(second, first)
    second.write_bytes(held)
    found = faults(made)
    assert len(found) == 18
    assert all("macro shard 0" in fault or "macro shard 1" in fault for fault in found)


def test_shards_that_do_not_count(made):
    (Path(made.path) / "ledger/macro/c/2/0/0").unlink()
    assert faults(made) == ["1 of 3 macro shards are not written though the dataset says that it is complete"]
    incomplete = make(made.store, "m/half")
    with incomplete.open_writer() as writer:
        writer.write_shard(incomplete.layout.shard("micro", 0), incomplete.shard_states("micro", 0))
    assert faults(incomplete) == [
        "3 of 3 macro shards are not written yet: run the same extract command again",
        "1 of 2 micro shards are not written yet: run the same extract command again",
    ]


@pytest.mark.parametrize("array", ["token_id", "layer", "sequence", "token", "source_row", "position", "label"])
def test_damaged_small_arrays(tmp_path, array):
    made = make(tmp_path / "s", labels={"label": np.arange(21)}).write()
    (path,) = (path for path in Path(made.path, array, "c").rglob("0") if path.is_file())
    flip(path, 3)
    assert any(f"{array}/c/0" in fault and "is damaged" in fault for fault in faults(made))
    path.unlink()
    assert any(f"{array}/c/0" in fault and "is missing" in fault for fault in faults(made))
    shutil.rmtree(Path(made.path, array))
    assert array == "label" or any(f"/{array}" in fault for fault in faults(made))


def test_damaged_ledger_entry_is_found_and_mended(made):
    flip(Path(made.path) / "ledger/micro/c/0/0", 2)
    assert any("micro shard 0" in fault and "its checksum does not match" in fault for fault in faults(made))
    assert open_reader(made.store, made.name).missing_shards("micro") == [0]
    made.write()
    assert faults(made) == []


def test_metadata_that_do_not_fit(made):
    path = Path(made.path) / "macro/zarr.json"
    document = json.loads(path.read_text())
    for field, value, said in (
        ("shape", [3, 3, 22, 8], "shape"),
        ("data_type", "uint16", "data_type"),
        ("fill_value", 0, "fill_value"),
        ("codecs", [{"name": "bytes"}], "codecs"),
    ):
        path.write_text(json.dumps(document | {field: value}))
        assert f"{path} does not fit the dataset's identity: {said}" in faults(made)
    path.write_text("{")
    assert any(fault.startswith(f"{path} is not a JSON object") for fault in faults(made))
    path.unlink()
    assert any("macro/zarr.json does not fit" in fault for fault in faults(made))
    with pytest.raises(StoreError, match="macro has no zarr"):
        open_reader(made.store, made.name).read_slab(Slab(level="macro", layer=0, position=0))


def test_rows_that_contradict_the_layout(made):
    group = zarr.open_group(made.path, mode="r+")
    group["token_id"][0] = 66
    group["sequence"][3] = 7
    found = " ".join(faults(made))
    assert "token_id: token rows are not sorted" in found
    assert f"{made.path}/sequence does not hold the values" in found


def test_other_codecs_are_refused_when_read(made):
    path = Path(made.path) / "macro/zarr.json"
    path.write_text(path.read_text().replace('"name": "blosc"', '"name": "zstd"'))
    with pytest.raises(StoreError, match=r"macro: inner chunks are encoded as bytes \+ zstd"):
        open_reader(made.store, made.name).read_slab(Slab(level="macro", layer=0, position=0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda attributes: attributes.pop("identity"), "is damaged: the whole is .*; an object with identity is expected"),
        (lambda attributes: attributes["identity"].pop("layout"), "damaged: identity is .*; an object with layout is expected"),
        (lambda attributes: attributes["identity"]["layout"].update(num_layers=0), "num_layers is 0; it must be at least 1"),
        (lambda attributes: attributes.update(corpus={"recipe": "r"}), "damaged: corpus is .*; an object with complete, "),
        (lambda attributes: attributes.update(ie_store_format=4), "has format version 4; this ie-store reads version 3"),
        (lambda attributes: attributes.pop("ie_store_format"), "is a Zarr group of another program"),
        (lambda attributes: attributes["identity"]["model"].update(id="another"), "was changed: its attributes do not have"),
        (lambda attributes: attributes.update(complete=False), "was changed: its attributes do not have"),
        (lambda attributes: attributes["identity"]["layout"].update(rows_per_shard=2**40), "more than 2,147,483,616 bytes"),
        (lambda attributes: attributes["identity"]["layout"].update(layers=[0, 7]), r"within 0\.\.2"),
        (lambda attributes: attributes["identity"]["layout"].update(hidden_size=True), "hidden_size is True; a 64-bit integer"),
    ],
)
def test_damaged_certificate(made, change, said):
    path = Path(made.path) / "zarr.json"
    document = json.loads(path.read_text())
    change(document["attributes"])
    path.write_text(json.dumps(document))
    with pytest.raises(StoreError, match=said):
        faults(made)


@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_bytes(b"\1\0\0\0\0\0\0\0")])
def test_the_number_of_the_session_that_wrote_a_shard_is_looked_at(made, change):
    change(Path(made.path, "ledger", "macro_session", "c", "1"))
    (fault,) = verify_dataset(made.store, made.name).faults
    assert "ledger/macro_session/c/1" in fault
    assert damaged_shards(open_dataset(made.store, made.name), ignore_progress) == {"macro": [1], "micro": []}
