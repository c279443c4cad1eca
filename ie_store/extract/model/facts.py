"""What a model's files say of its size, read without torch and transformers: enough to refuse what cannot be."""

import json
from pathlib import Path
from typing import Any

from ie_store.extract.model.gguf_header import read_entries
from ie_store.options import ExtractSpec

_NAMES = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
"""What configurations call the number of blocks."""


def num_blocks_of(spec: ExtractSpec) -> int | None:
    """Blocks of the model of ``spec``, where its files are here and say so plainly; None otherwise."""
    path = _local_file(spec, spec.gguf_file or "config.json")
    if path is None:
        return None
    if spec.gguf_file:
        entries = read_entries(path)
        return _count(entries.get(f"{entries.get('general.architecture')}.block_count"))
    return _blocks_in(_read_json(path))


def _blocks_in(config: Any) -> int | None:
    if not isinstance(config, dict) or "auto_map" in config:  # code of its own may call anything by these names
        return None
    named = [config[name] for name in _NAMES if name in config]
    if not named and "text_config" in config:
        return _blocks_in(config["text_config"])
    return _count(named[0]) if len(named) == 1 else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _read_json(path: str) -> Any:
    try:
        return json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _local_file(spec: ExtractSpec, name: str) -> str | None:
    """A file of the model in its folder, or in the hub's cache; never the network."""
    if Path(spec.model).is_dir():
        return str(Path(spec.model) / name)
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(spec.model, name, revision=spec.revision)
    except ValueError:  # a name that the hub cannot have
        return None
    return found if isinstance(found, str) else None
