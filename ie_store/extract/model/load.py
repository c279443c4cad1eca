"""Load a causal language model: from a hub id, a local folder, or a GGUF file in either."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from ie_store.errors import InputError
from ie_store.extract.model.decoder import Decoder, find_decoder
from ie_store.extract.model.digest import weights_digest
from ie_store.extract.model.initial_weights import initial_model
from ie_store.extract.model.quiet import silence
from ie_store.extract.model.sources import load_error, require_source
from ie_store.extract.model.tokenizer import PlainTokenizer, load_tokenizer
from ie_store.options import ExtractSpec
from ie_store.specs import ModelSpec, StoredDtype

TORCH_DTYPES: dict[StoredDtype, torch.dtype] = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
}


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model on its device, ready to run, and what it is."""

    decoder: Decoder
    spec: ModelSpec
    tokenizer: PlainTokenizer | None
    tokenizer_fault: str
    """Why there is no tokenizer; empty where there is one."""
    bos_id: int | None
    """Token put before every sequence; None without one."""
    max_positions: int | None
    """Longest sequence the model was made for, where it says."""
    device: torch.device


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
        raise InputError(f"device {name!r} is not available here ({_line(error)}); use --device cpu") from None
    if device.type == "meta":
        raise InputError("device 'meta' computes nothing; use cpu or cuda")
    return device


def load_model(spec: ExtractSpec) -> LoadedModel:
    """Load the model of ``spec`` onto its device and find its blocks.

    Raises:
        InputError: not found, not a causal language model, quantised, needs code of its own, or no such device.
    """
    device = choose_device(spec.device)
    compute_dtype: StoredDtype = spec.compute_dtype or ("bfloat16" if device.type == "cuda" else "float32")
    arguments = _source_arguments(spec)
    config, published = _load_config(spec, arguments)
    tokenizer, fault = load_tokenizer(spec.model, arguments)
    model = _load_weights(spec, arguments, config, TORCH_DTYPES[compute_dtype])
    bos_id = _bos_id(spec, tokenizer, config)
    try:
        with silence():
            decoder = find_decoder(_moved(model, device), device)
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError, ImportError) as error:
        raise InputError(
            f"model {spec.model!r} ({type(model).__name__}) does not run on token ids alone: {_line(error)}"
        ) from error
    _require_dense(decoder, TORCH_DTYPES[compute_dtype])
    text_config: Any = model.config.get_text_config(decoder=True)
    described = ModelSpec(
        id=_model_id(spec),
        revision=getattr(config, "_commit_hash", None) or spec.revision,
        weights_digest=weights_digest(decoder.module, published),
        tokenizer_digest=tokenizer.digest if tokenizer else None,
        num_blocks=len(decoder.blocks),
        hidden_size=decoder.hidden_size(device),
        vocab_size=_num_embeddings(model),
        compute_dtype=compute_dtype,
        attention=str(text_config._attn_implementation),
        bos=spec.bos,
    )
    return LoadedModel(
        decoder=decoder,
        spec=described,
        tokenizer=tokenizer,
        tokenizer_fault=fault,
        bos_id=bos_id,
        max_positions=getattr(text_config, "max_position_embeddings", None),
        device=device,
    )


def _source_arguments(spec: ExtractSpec) -> dict[str, Any]:
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


def _load_weights(spec: ExtractSpec, arguments: dict[str, Any], config: PreTrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    attention: dict[str, Any] = {} if spec.attention == "auto" else {"attn_implementation": spec.attention}
    try:
        with silence():
            if spec.weights_seed is not None:
                options = {**attention, "trust_remote_code": spec.trust_remote_code}
                return _frozen(initial_model(config, spec.weights_seed, dtype, options))
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                spec.model, dtype=dtype, output_loading_info=True, **attention, **arguments
            )
    except Exception as error:  # whatever foreign or broken weights make transformers, safetensors or torch raise
        raise load_error(spec, error) from error
    model, info = loaded
    missing = sorted(set(info["missing_keys"]) & _names_without_head(model))
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(f"model {spec.model!r}: its files lack {len(missing)} weights ({shown}); they would be random numbers")
    return _frozen(model)


def _frozen(model: Any) -> PreTrainedModel:
    frozen: PreTrainedModel = model.eval().requires_grad_(False)
    return frozen


def _moved(model: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    movable: Any = model
    try:
        moved: PreTrainedModel = movable.to(device)
    except torch.OutOfMemoryError:
        raise InputError(
            f"the model does not fit into the memory of {device}; use --compute-dtype bfloat16 or --device cpu"
        ) from None
    return moved


def _num_embeddings(model: PreTrainedModel) -> int:
    embeddings: Any = model.get_input_embeddings()
    return int(embeddings.weight.shape[0])


def _names_without_head(model: PreTrainedModel) -> set[str]:
    head: Any = model.get_output_embeddings()
    mine = set() if head is None else {id(weight) for weight in head.parameters()}
    mine -= {id(weight) for weight in model.get_input_embeddings().parameters()}
    return {name for name, weight in model.named_parameters(remove_duplicate=False) if id(weight) not in mine}


def _require_dense(decoder: Decoder, dtype: torch.dtype) -> None:
    for name, weight in decoder.module.named_parameters():
        if weight.dtype not in (dtype, torch.float32):
            raise InputError(f"weight {name} is {weight.dtype}, not {dtype}; give a model with dense, unquantised weights")


def _bos_id(spec: ExtractSpec, tokenizer: PlainTokenizer | None, config: PreTrainedConfig) -> int | None:
    if spec.bos == "none":
        return None
    token = tokenizer.bos_id if tokenizer else getattr(config.get_text_config(decoder=True), "bos_token_id", None)
    if token is None:
        raise InputError(f"model {spec.model!r} has no beginning-of-sequence token to prepend; use --bos none")
    return int(token)


def _model_id(spec: ExtractSpec) -> str:
    name = Path(spec.model).resolve().name if Path(spec.model).is_dir() else spec.model
    name = f"{name}/{spec.gguf_file}" if spec.gguf_file else name
    return name if spec.weights_seed is None else f"{name}~random{spec.weights_seed}"


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
