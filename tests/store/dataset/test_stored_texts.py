"""Texts beside a dataset: written, read by us and by plain Zarr, checked, mended; datasets without them are as good."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from called import ie_store as command
from called import ie_store_json
from made_store import make

import ie_store
from ie_store.errors import InputError, StoreError
from ie_store.store.dataset.remove import remove_dataset
from ie_store.store.format.arrays import coordinate_values
from ie_store.store.verify import verify_dataset
from ie_store.texts import CorpusTexts, make_texts, shared_texts

WORDS = [" é", "b", "", "\U0001f600", "c c", "\x1b[31m", "g"]
SENTENCES = ["one.", "zwei \u202eé", "three"]
NUMBERS = np.arange(21) % 3
ARRAYS = ("token_text_bytes", "token_text_span", "source_text_bytes", "source_text_span")


def with_texts(store, **changed):
    return make(store, texts=CorpusTexts(token=make_texts(WORDS), source=shared_texts(SENTENCES, NUMBERS)), **changed)


@pytest.fixture
def told(tmp_path):
    return with_texts(tmp_path / "s", labels={"kind": np.array(list("abc") * 7)}).write()


def tokens_read(made):
    return [[WORDS[token // 11] for token in row] for row in made.tokens.tolist()]


def test_the_accessor_reads_rows_as_people_do(told):
    dataset = ie_store.open_store(told.store, told.name)
    found = dataset.ie.text()
    assert found.token_text.values.tolist() == tokens_read(told)
    assert found.text.values.tolist() == ["".join(row) for row in tokens_read(told)]
    assert found.source_text.values.tolist() == [SENTENCES[number] for number in NUMBERS]
    assert found.kind.values.tolist() == list("abc") * 7
    chosen = dataset.isel(sequence=[20, 4], position=[1])
    assert chosen.ie.text().text.values.tolist() == [found.text.values[20], found.text.values[4]]
    assert xr.merge([dataset.token_id, found]).text.sizes == {"sequence": 21}


def test_plain_zarr_reads_the_same(told):
    plain = xr.open_zarr(told.path, consolidated=False)
    data, span = plain.source_text_bytes.values.tobytes(), plain.source_text_span
    assert span.dims == ("sequence", "edge")
    assert [data[start:stop].decode() for start, stop in span.values] == [SENTENCES[number] for number in NUMBERS]
    assert len(data) == sum(len(text.encode()) for text in SENTENCES)
    data = plain.token_text_bytes.values.tobytes()
    assert [data[start:stop].decode() for start, stop in plain.token_text_span.values] == WORDS


def test_a_dataset_without_texts_is_as_good(tmp_path):
    made = make(tmp_path / "s").write()
    assert verify_dataset(made.store, made.name).faults == []
    assert ie_store_json("info", made.store, made.name)["rows"] == []
    with pytest.raises(InputError, match="was stored without texts"):
        ie_store.open_store(made.store, made.name).ie.text()


def test_texts_are_no_part_of_the_identity(tmp_path, told):
    bare = make(told.store, labels=told.labels)
    with bare.open_writer() as writer:
        assert writer.missing_shards("macro") == []


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("how", ["flipped", "gone", "document"])
def test_damage_is_found(told, array, how):
    assert verify_dataset(told.store, told.name).faults == []
    place = next(Path(told.path, array).glob("c/0*"))
    place = place / "0" if place.is_dir() else place
    if how == "flipped":
        raw = bytearray(place.read_bytes())
        raw[0] ^= 1
        place.write_bytes(raw)
    else:
        (place if how == "gone" else Path(told.path, array, "zarr.json")).unlink()
    assert any(array in fault for fault in verify_dataset(told.store, told.name).faults)
    with pytest.raises(StoreError, match=array):
        ie_store.open_store(told.store, told.name).ie.text()
    assert ie_store_json("info", told.store, told.name)["rows"] == []
    assert len(ie_store.open_store(told.store, told.name).macro.load()) == 3


def test_texts_of_another_corpus_are_found(told, tmp_path):
    other = with_texts(tmp_path / "other", seed=1).write()
    for array in ARRAYS:
        for file in Path(other.path, array).rglob("*"):
            if file.is_file():
                Path(told.path, array, file.relative_to(Path(other.path, array))).write_bytes(file.read_bytes())
    (fault,) = verify_dataset(told.store, told.name).faults
    assert "token_text_span and the bytes beside it are not this corpus's" in fault
    loose = ie_store.open_store(told.store, told.name, verify=False)
    assert loose.ie.text().text.values[0] == "".join(tokens_read(told)[0])


def test_repairing_writes_them_anew_and_adds_them_where_there_were_none(tmp_path):
    made = make(tmp_path / "s").write()
    told = with_texts(made.store)
    rows = (told.tokens, np.arange(21)[::-1].copy(), {})
    with told.open_writer() as writer:
        damage = writer.repair(coordinate_values(told.layout, *rows, told.texts))
    assert sorted(damage.arrays) == sorted(ARRAYS)
    assert ie_store.open_store(made.store, made.name).ie.text().token_text.values.tolist() == tokens_read(told)


def test_they_go_with_the_dataset(told):
    assert remove_dataset(told.store, told.name) == []
    assert not [path for path in Path(told.path).rglob("*") if path.is_file()]


def test_info_shows_some_rows_escaped(told):
    shown = command("info", told.store, told.name)
    assert shown.exit_code == 0
    assert "(from: three)" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "\u202e" not in shown.stdout
    described = ie_store_json("info", told.store, told.name)["rows"]
    assert [row["sequence"] for row in described] == [0, 10, 20]
    assert described[1]["tokens"] == tokens_read(told)[10]
    assert described[1]["source_text"] == SENTENCES[1]
    json.dumps(described)
