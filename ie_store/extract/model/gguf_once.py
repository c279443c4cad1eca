"""Have transformers parse a GGUF file once: by itself it does so anew for configuration, tokenizer and weights."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import modeling_gguf_pytorch_utils as loader

from ie_store.extract.model.kept import file_digest, find_kept, keep, key_of

Parse = Callable[..., dict[str, Any]]
_OURS = "_of_ie_store"


@contextmanager
def gguf_parsed_once() -> Iterator[None]:
    """While open, what is parsed of a GGUF file is kept for the next question, and what is large for later runs (`kept`).

    Nothing changes but the time: each caller gets a copy of its own. Opened within itself it does nothing.
    """
    gguf = _gguf()
    if gguf is None or hasattr(loader.load_gguf_checkpoint, _OURS):
        yield
        return
    with (
        _replaced(gguf, "GGUFReader", _one_reader(_plain_reader(gguf.GGUFReader))),
        _replaced(gguf, "get_tensor_name_map", lru_cache(gguf.get_tensor_name_map)),
        _replaced(loader, "load_gguf_checkpoint", _one_parse(loader.load_gguf_checkpoint)),
    ):
        yield


def _gguf() -> Any:
    try:
        import gguf
    except ImportError:  # transformers says so where it needs it
        return None
    return gguf


@contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, original)


def _plain_reader(kind: Any) -> Any:
    """A reader whose bytes are a plain array: slices of a `numpy.memmap` cost four times as much, and it takes a million."""

    class PlainReader(kind):  # type: ignore[misc]
        @property
        def data(self) -> Any:
            return self._plain

        @data.setter
        def data(self, value: Any) -> None:
            self._plain = np.asarray(value)

    return PlainReader


def _one_reader(kind: Any) -> Callable[..., Any]:
    """Readers of a file as it is now, made once."""
    made: dict[tuple[Any, ...], Any] = {}

    def reader_of(path: Any, *mode: Any) -> Any:
        key = (*_state(path), *mode)
        if key not in made:
            made.clear()
            made[key] = kind(path, *mode)
        return made[key]

    return reader_of


def _one_parse(parse: Parse) -> Parse:
    """What is parsed of a file as it is now, made once; each call gets its own copy."""
    made: dict[tuple[Any, ...], tuple[str, dict[str, Any]]] = {}

    def parsed(path: Any, return_tensors: bool = False, model_to_load: Any = None, torch_dtype: Any = None) -> dict[str, Any]:
        state = _state(path)
        if state not in made:
            made.clear()
            digest = file_digest(path)
            made[state] = digest, _kept_entries(digest, lambda: parse(path))
        digest, entries = made[state]
        if not return_tensors:
            return _copied(entries)
        return _kept_tensors(
            key_of(digest, *_versions(), type(model_to_load).__name__, str(torch_dtype)),
            entries,
            lambda: parse(path, return_tensors=True, model_to_load=model_to_load, torch_dtype=torch_dtype),
        )

    setattr(parsed, _OURS, True)
    return parsed


def _kept_entries(digest: str, parse: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """All but the tensors: kept, or parsed."""
    key = key_of(digest, *_versions())
    path = find_kept(key, "json")
    if path is not None:
        kept: dict[str, Any] = json.loads(path.read_bytes())
        return kept
    entries = parse()
    text = json.dumps(entries, default=repr)
    if json.loads(text) == entries:
        keep(key, "json", len(text), lambda path: path.write_text(text, encoding="ascii"))
    return entries


def _kept_tensors(key: str, entries: dict[str, Any], parse: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """``entries`` and the tensors: kept, or dequantised."""
    path = find_kept(key, "safetensors")
    if path is not None:
        return {**_copied(entries), "tensors": _own(load_file(path))}
    whole = parse()
    tensors = whole.pop("tensors")
    if whole == entries:
        num_bytes = sum(tensor.nbytes for tensor in tensors.values())
        keep(key, "safetensors", num_bytes, lambda path: save_file(tensors, path))
    return {**whole, "tensors": _own(tensors)}


def _copied(entries: dict[str, Any]) -> dict[str, Any]:
    """The entries for one more caller; vocabularies are lists of a hundred thousand, which callers only read."""
    return {name: deepcopy(value) if name == "config" else dict(value) for name, value in entries.items()}


def _own(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in memory that torch laid out, wherever they come from: how numbers lie decides the last bits of a matmul."""
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _versions() -> tuple[str, ...]:
    return tuple(version(name) for name in ("transformers", "gguf", "torch", "numpy"))


def _state(path: Any) -> tuple[Any, ...]:
    found = os.stat(path)
    return str(Path(path).resolve()), found.st_size, found.st_mtime_ns, found.st_ino
