"""Load the weights of an opened model and find its blocks."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from ie_store.errors import InputError
from ie_store.extract.model.decoder import Decoder, find_decoder
from ie_store.extract.model.digest import weights_digest
from ie_store.extract.model.gguf_once import gguf_parsed_once
from ie_store.extract.model.initial_weights import initial_model
from ie_store.extract.model.open import OpenedModel, open_model, revision_of, source_arguments
from ie_store.extract.model.quiet import silence
from ie_store.extract.model.sources import first_line, load_error, model_id
from ie_store.extract.model.tokenizer import PlainTokenizer
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
    opened: OpenedModel

    @property
    def tokenizer(self) -> PlainTokenizer | None:
        """What makes token ids of text, where there is one."""
        return self.opened.tokenizer

    @property
    def bos_id(self) -> int | None:
        """Token put before every sequence; None without one."""
        return self.opened.bos_id

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.opened.device


@gguf_parsed_once()
def load_model(spec: ExtractSpec) -> LoadedModel:
    """Open the model of ``spec`` and load its weights; `open_model` and `load_weights` say what they raise."""
    return load_weights(spec, open_model(spec))


@gguf_parsed_once()
def load_weights(spec: ExtractSpec, opened: OpenedModel) -> LoadedModel:
    """Load the weights of an opened model onto its device and find its blocks.

    Raises:
        InputError: not a causal language model, damaged, or it does not run here.
    """
    device, dtype = opened.device, TORCH_DTYPES[opened.compute_dtype]
    model = _load_weights(spec, source_arguments(spec), opened.config, dtype)
    try:
        with silence():
            decoder = find_decoder(_moved(model, device), device)
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError, ImportError) as error:
        raise InputError(
            f"model {spec.model!r} ({type(model).__name__}) does not run on token ids alone: {first_line(error)}"
        ) from error
    _require_dense(decoder, dtype)
    text_config: Any = model.config.get_text_config(decoder=True)
    described = ModelSpec(
        id=model_id(spec),
        revision=revision_of(spec, opened),
        weights_digest=weights_digest(decoder.module, opened.published),
        tokenizer_digest=opened.tokenizer.digest if opened.tokenizer else None,
        num_blocks=len(decoder.blocks),
        hidden_size=decoder.hidden_size(device),
        vocab_size=_num_embeddings(model),
        compute_dtype=opened.compute_dtype,
        attention=str(text_config._attn_implementation),
        bos=spec.bos,
    )
    return LoadedModel(decoder=decoder, spec=described, opened=opened)


def _load_weights(spec: ExtractSpec, arguments: dict[str, Any], config: PreTrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    attention: dict[str, Any] = {} if spec.attention == "auto" else {"attn_implementation": spec.attention}
    try:
        with silence():
            if spec.weights_seed is not None:
                options = {**attention, "trust_remote_code": spec.trust_remote_code}
                return _frozen(initial_model(deepcopy(config), spec.weights_seed, dtype, options))
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
