"""Where a model comes from, and what to say when it does not come."""

import os
import re
from pathlib import Path

from ie_store.errors import InputError
from ie_store.options import ExtractSpec

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


def require_source(spec: ExtractSpec) -> None:
    """Raise `InputError` for what can be seen without transformers: neither a folder nor a hub id, no file, or not on the hub."""
    if not spec.model:
        raise InputError("no model was given; use --model with a hub id like org/name or a local folder")
    folder = Path(spec.model)
    if folder.is_file():
        raise InputError(f"model {spec.model!r} is a file; give its folder" + _gguf_hint(folder.parent, folder.name))
    if not folder.is_dir():
        if not _HUB_ID.fullmatch(spec.model) or spec.model.startswith("."):
            raise InputError(f"model folder {spec.model!r} does not exist, and it is no hub id like org/name either")
        _require_on_hub(spec)
        return
    if spec.gguf_file and not (folder / spec.gguf_file).is_file():
        raise InputError(f"model folder {spec.model!r} holds no file {spec.gguf_file!r}" + _gguf_hint(folder))
    if not spec.gguf_file and not (folder / "config.json").is_file():
        raise InputError(f"model folder {spec.model!r} holds no config.json" + _gguf_hint(folder))


def _require_on_hub(spec: ExtractSpec) -> None:
    """Ask the hub for the file that is read first, unless the cache holds it: its answer comes before seconds of imports."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    name = spec.gguf_file or "config.json"
    try:
        if not isinstance(try_to_load_from_cache(spec.model, name, revision=spec.revision), str):
            get_hf_file_metadata(hf_hub_url(spec.model, name, revision=spec.revision))
    except Exception as error:  # whatever the hub's client and its network raise
        raise load_error(spec, error) from error


def model_id(spec: ExtractSpec) -> str:
    """What a dataset calls the model of ``spec``: hub id or name of the folder, the GGUF file, the seed of random weights."""
    name = Path(spec.model).resolve().name if Path(spec.model).is_dir() else spec.model
    name = f"{name}/{spec.gguf_file}" if spec.gguf_file else name
    return name if spec.weights_seed is None else f"{name}~random{spec.weights_seed}"


def _gguf_hint(folder: Path, name: str | None = None) -> str:
    names = [name] if name else sorted(path.name for path in folder.glob("*.gguf"))
    found = [name for name in names if name.endswith(".gguf")]
    return f"; for its GGUF weights add --gguf-file {found[0]}" if found else ""


def load_error(spec: ExtractSpec, error: Exception) -> InputError:
    """The error to raise where transformers failed with ``error``: what, and how to fix it."""
    text = str(error).strip()
    line = (text.splitlines() or [type(error).__name__])[0][:300]
    if "trust_remote_code" in text:
        return InputError(
            f"model {spec.model!r} comes with code of its own; to run it, after reading it, add --trust-remote-code"
        )
    if isinstance(error, ImportError):
        extra = "; install it with: pip install 'ie-store[gguf]'" if spec.gguf_file else ""
        return InputError(f"model {spec.model!r} needs a package that is not installed: {line}{extra}")
    if "Unrecognized configuration class" in text or "Unrecognized model" in text:
        return InputError(f"model {spec.model!r} is not a causal language model that transformers knows: {line}")
    if "scaled_dot_product_attention" in text or "attn_implementation" in text:
        return InputError(f"model {spec.model!r} has no {spec.attention!r} attention; use --attention eager, or auto")
    if not Path(spec.model).is_dir() and isinstance(error, OSError):
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else ""
        return InputError(
            f"model {spec.model!r} is no local folder, and the hub did not deliver it{offline}: {line}; check the name, the "
            "revision and the connection, or give a local folder"
        )
    return InputError(f"model {spec.model!r} cannot be loaded: {type(error).__name__}: {line}")


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
