"""A GGUF file is parsed once, and from what is kept of it the same model comes as from the file."""

import errno
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from tiny_gguf import VOCAB, write_gguf
from transformers import AutoModelForCausalLM

from ie_store.extract.model import kept
from ie_store.extract.model.load import LoadedModel, load_model
from ie_store.extract.model.quiet import silence
from ie_store.extract.run import extract
from ie_store.options import ExtractSpec

Load = Callable[..., LoadedModel]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what is kept, still missing."""
    monkeypatch.setenv(kept.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def num_parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time that a GGUF file is parsed."""
    calls: list[str] = []

    class Counted(gguf.GGUFReader):
        def __init__(self, path: Any, *more: Any) -> None:
            calls.append(str(path))
            super().__init__(path, *more)

    monkeypatch.setattr(gguf, "GGUFReader", Counted)
    return calls


@pytest.fixture
def load(tmp_path: Path) -> Load:
    write_gguf(tmp_path / "tiny.gguf")

    def load(**more: str) -> LoadedModel:
        return load_model(ExtractSpec(store="s", model=str(tmp_path), gguf_file="tiny.gguf", corpus="tokens:x", **more))

    return load


@pytest.mark.usefixtures("cache")
def test_the_model_is_that_of_transformers(load: Load, tmp_path: Path) -> None:
    with silence():
        expected = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf", dtype=torch.float32).model.state_dict()
    for _ in ("parsed", "kept"):
        found = load().decoder.module.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_file_is_parsed_once_and_not_at_all_where_it_is_kept(
    load: Load, cache: Path, num_parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load()
    assert len(num_parsed) == 1
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".safetensors"]
    assert load().spec == first.spec
    assert len(num_parsed) == 1
    monkeypatch.setenv(kept.VARIABLE, "")
    assert load().spec == first.spec
    assert len(num_parsed) == 2
    reader, parse = gguf.GGUFReader, gguf.get_tensor_name_map
    load()
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == (reader, parse)


def test_random_weights_dequantise_nothing(load: Load, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "dequantize", lambda *_: pytest.fail("dequantised"))
    load(weights="random")
    assert [path.suffix for path in cache.iterdir()] == [".json"]


def test_another_file_of_the_same_size_and_time_is_another_model(load: Load, cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    first, times = load().spec.weights_digest, (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    write_gguf(path, seed=1)
    os.utime(path, ns=times)
    assert load().spec.weights_digest != first
    assert len(list(cache.iterdir())) == 4


@pytest.mark.parametrize("kind", ["json", "safetensors"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_what_is_damaged_is_said_and_made_again(
    load: Load, cache: Path, caplog: pytest.LogCaptureFixture, kind: str, damage: str
) -> None:
    first = load().spec
    (path,) = cache.glob(f"*.{kind}")
    whole = path.read_bytes()
    middle = len(whole) // 2
    bad = {"flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], "cut": whole[:middle], "empty": b""}
    path.write_bytes(bad[damage])
    assert load().spec == first
    assert f"{path} is damaged" in caplog.text
    assert path.read_bytes() == whole


@pytest.mark.parametrize("where", ["full", "no room", "unwritable"])
def test_without_room_nothing_is_kept_and_nothing_is_lost(
    load: Load, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if where == "full":
        monkeypatch.setattr("ie_store.extract.model.gguf_once.save_file", full)
        monkeypatch.setattr(Path, "write_text", full)
    elif where == "no room":
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 100, 100))
    else:
        cache.write_text("a file")
    spec = load().spec
    assert ("nothing is kept" in caplog.text) == (where != "no room")
    monkeypatch.undo()
    assert load().spec == spec
    assert not cache.is_dir() or not list(cache.iterdir())


def test_states_are_the_same_bytes_from_the_file_and_from_what_is_kept(load: Load, cache: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).integers(3, VOCAB, (40, 6)).astype(np.int32))
    files = []
    for store in ("first", "second"):
        extract(
            ExtractSpec(
                store=str(tmp_path / store), model=str(tmp_path), gguf_file="tiny.gguf", audit_rows=2,
                corpus=f"tokens:{tmp_path / 'rows.npy'}", dtype="float32",
            )
        )  # fmt: skip
        assert len(list(cache.iterdir())) == 2
        shards = [path for path in (tmp_path / store).rglob("*") if path.is_file() and "/c/" in str(path)]
        files.append({path.relative_to(tmp_path / store): path.read_bytes() for path in shards if "m" in path.parts[-6]})
    assert files[0] == files[1]
    assert files[0]


def test_entries_of_many_processes_are_whole(cache: Path) -> None:
    """A reader meets no half-written entry, whoever writes the same one meanwhile."""
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write_and_read, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert {path.suffix for path in cache.iterdir()} == {".bin"}


def _write_and_read(number: int) -> None:
    content = bytes([number % 2]) * 200_000
    for _ in range(50):
        kept.keep("key", "bin", len(content), lambda path: path.write_bytes(content))
        found = kept.find_kept("key", "bin")
        assert found is not None
        assert found.read_bytes() in (b"\0" * 200_000, b"\1" * 200_000)
