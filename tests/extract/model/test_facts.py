"""Sizes read from a model's files without transformers agree with transformers, or are not told."""

import json
from pathlib import Path

import gguf
import pytest
from tiny_models import BLOCKS, PLAIN, REFUSED, SHARED, tiny_config

from ie_store.extract.model.facts import num_blocks_of
from ie_store.extract.model.gguf_header import read_entries
from ie_store.options import ExtractSpec


def spec_of(folder: Path, **more: str) -> ExtractSpec:
    return ExtractSpec(store="unused", model=str(folder), corpus="tokens:x", **more)


@pytest.mark.parametrize("family", [*SHARED, *PLAIN, *REFUSED])
def test_blocks_are_those_of_transformers_or_not_told(tmp_path: Path, family: str) -> None:
    config = tiny_config(family)
    config.save_pretrained(tmp_path)
    found = num_blocks_of(spec_of(tmp_path))
    assert found in (None, config.num_hidden_layers)
    assert found is not None or family in REFUSED or family == "gpt_neo"


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"text_config": {"num_hidden_layers": 7}}, 7),
        ({"num_hidden_layers": 7, "n_layer": 8}, None),
        ({"num_hidden_layers": 7, "auto_map": {}}, None),
        ({"num_hidden_layers": True}, None),
        ({"num_hidden_layers": -1}, None),
        ([], None),
    ],
)
def test_what_is_not_plain_is_not_told(tmp_path: Path, config: object, found: int | None) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert num_blocks_of(spec_of(tmp_path)) == found


def test_files_that_are_missing_or_broken_say_nothing(tmp_path: Path) -> None:
    assert num_blocks_of(spec_of(tmp_path)) is None
    (tmp_path / "config.json").write_text("{")
    assert num_blocks_of(spec_of(tmp_path)) is None
    assert num_blocks_of(ExtractSpec(store="unused", model="no-org/no-name", corpus="tokens:x")) is None
    assert num_blocks_of(ExtractSpec(store="unused", model="a..b/c--d", corpus="tokens:x")) is None


def write_gguf(path: Path, num_tokens: int) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_array("general.tags", ["one", "two"])
    writer.add_array("general.numbers", [1, 2, 3])
    writer.add_block_count(BLOCKS)
    writer.add_float32("llama.scale", 0.5)
    writer.add_token_list([f"token{number}" for number in range(num_tokens)])
    writer.add_uint32("llama.behind", 9)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


@pytest.mark.parametrize(("num_tokens", "behind"), [(10, 9), (2000, None)])
def test_the_head_of_a_gguf_file_is_read_up_to_its_vocabulary(tmp_path: Path, num_tokens: int, behind: int | None) -> None:
    path = tmp_path / "a.gguf"
    write_gguf(path, num_tokens)
    entries = read_entries(str(path))
    assert (entries["general.architecture"], entries["llama.block_count"], entries["llama.scale"]) == ("llama", BLOCKS, 0.5)
    assert entries.get("llama.behind") == behind
    assert num_blocks_of(spec_of(tmp_path, gguf_file="a.gguf")) == BLOCKS


def test_a_damaged_head_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path, cut = tmp_path / "a.gguf", tmp_path / "cut.gguf"
    write_gguf(path, 3)
    whole, data = read_entries(str(path)), path.read_bytes()
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        assert read_entries(str(cut)).items() <= whole.items()
        cut.write_bytes(data[:length] + b"\xff" * 16 + data[length + 16 :])
        read_entries(str(cut))
    assert read_entries(str(tmp_path / "no.gguf")) == {}
