"""What a model's weights and tokenizer are, as a digest: equal where they compute the same, whatever file they came from."""

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

_NOT_IDENTITY = re.compile(
    r"^_|transformers_version$|^(torch_)?dtype$|^use_cache$|^architectures$|^auto_map$|^quantization_config$"
)
"""Entries of a configuration that say where it came from or how to load it, not what the model computes."""


def weights_digest(module: nn.Module, config: dict[str, Any]) -> str:
    """SHA-256 over the names, dtypes, shapes and values of parameters and persistent buffers, and the configuration.

    Args:
        module: what is run; its weights in their compute dtype.
        config: the configuration as published, without the library's defaults, so that it outlives library versions.
    """
    tensors = sorted(module.state_dict().items())
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(lambda item: _tensor_digest(item[1]), tensors))
    values = [
        [name, str(tensor.dtype), list(tensor.shape), value] for (name, tensor), value in zip(tensors, digests, strict=True)
    ]
    text = json.dumps([values, _canonical(config)], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def text_digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _tensor_digest(tensor: Tensor) -> str:
    values = tensor.detach().cpu().contiguous().reshape(-1)
    return hashlib.sha256(values.view(torch.uint8).numpy().data).hexdigest()


def _canonical(config: Any) -> Any:
    if isinstance(config, dict):
        return {str(name): _canonical(value) for name, value in config.items() if not _NOT_IDENTITY.search(str(name))}
    return [_canonical(value) for value in config] if isinstance(config, list | tuple) else config
