"""Open a causal language model, from a hub id, a local folder, or a GGUF file in either: all of it but its weights."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig

from ie_store.errors import InputError
from ie_store.extract.model.gguf_once import gguf_parsed_once
from ie_store.extract.model.quiet import silence
from ie_store.extract.model.sources import first_line, load_error, require_source
from ie_store.extract.model.tokenizer import PlainTokenizer, load_tokenizer
from ie_store.options import ExtractSpec
from ie_store.specs import StoredDtype


@dataclass(frozen=True, kw_only=True)
class OpenedModel:
    """A model whose weights nobody has touched yet: its configuration, its tokenizer, and where it will run."""

    config: PreTrainedConfig
    published: dict[str, Any]
    """The entries of the configuration as published, without the library's defaults."""
    tokenizer: PlainTokenizer | None
    tokenizer_fault: str
    """Why there is no tokenizer; empty where there is one."""
    bos_id: int | None
    """Token put before every sequence; None without one."""
    compute_dtype: StoredDtype
    device: torch.device

    @property
    def num_blocks(self) -> int | None:
        """Blocks, where the configuration says; the loaded model is the authority."""
        return self._said("num_hidden_layers")

    @property
    def vocab_size(self) -> int | None:
        """Token ids that it knows, likewise."""
        return self._said("vocab_size")

    @property
    def max_positions(self) -> int | None:
        """Longest sequence the model was made for, where it says."""
        return self._said("max_position_embeddings")

    def _said(self, name: str) -> int | None:
        value = getattr(self.config.get_text_config(decoder=True), name, None)
        return value if isinstance(value, int) else None


@gguf_parsed_once()
def open_model(spec: ExtractSpec) -> OpenedModel:
    """Read all of the model of ``spec`` but its weights.

    Raises:
        InputError: not found, not a decoder, quantised, needs code of its own, or no such device.
    """
    device = choose_device(spec.device)
    arguments = source_arguments(spec)
    config, published = _load_config(spec, arguments)
    tokenizer, fault = load_tokenizer(spec.model, arguments)
    return OpenedModel(
        config=config,
        published=published,
        tokenizer=tokenizer,
        tokenizer_fault=fault,
        bos_id=_bos_id(spec, tokenizer, config),
        compute_dtype=spec.compute_dtype or ("bfloat16" if device.type == "cuda" else "float32"),
        device=device,
    )


def choose_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is CUDA where there is any.

    Raises:
        InputError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device {name!r} is not available here ({first_line(error)}); use --device cpu") from None
    if device.type == "meta":
        raise InputError("device 'meta' computes nothing; use cpu or cuda")
    return device


def revision_of(spec: ExtractSpec, opened: OpenedModel) -> str | None:
    """Revision of the model on the hub: the commit that was found, or what was asked for."""
    return getattr(opened.config, "_commit_hash", None) or spec.revision


def source_arguments(spec: ExtractSpec) -> dict[str, Any]:
    """What transformers is to be told of where a model comes from."""
    arguments: dict[str, Any] = {"trust_remote_code": spec.trust_remote_code}
    if spec.gguf_file:
        arguments["gguf_file"] = spec.gguf_file
    if spec.revision:
        arguments["revision"] = spec.revision
    return arguments


def _load_config(spec: ExtractSpec, arguments: dict[str, Any]) -> tuple[PreTrainedConfig, dict[str, Any]]:
    """The configuration, and its entries as published."""
    require_source(spec)
    try:
        with silence():
            config = AutoConfig.from_pretrained(spec.model, **arguments)
            published, _ = PreTrainedConfig.get_config_dict(spec.model, **arguments)
    except Exception as error:  # whatever a foreign or broken configuration makes transformers raise
        raise load_error(spec, error) from error
    if config.is_encoder_decoder:
        raise InputError(f"model {spec.model!r} ({config.model_type}) is an encoder-decoder; give a decoder-only causal model")
    scheme = getattr(config, "quantization_config", None)
    if scheme and not spec.gguf_file:
        raise InputError(
            f"model {spec.model!r} is quantised ({scheme}); its states need dense weights: give the unquantised model"
        )
    return config, published


def _bos_id(spec: ExtractSpec, tokenizer: PlainTokenizer | None, config: PreTrainedConfig) -> int | None:
    if spec.bos == "none":
        return None
    token = tokenizer.bos_id if tokenizer else getattr(config.get_text_config(decoder=True), "bos_token_id", None)
    if token is None:
        raise InputError(f"model {spec.model!r} has no beginning-of-sequence token to prepend; use --bos none")
    return int(token)
