"""Tiny causal language models of many families, with seeded random weights, saved as folders."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedConfig
from transformers.utils import logging

VOCAB = 61
HIDDEN = 32
BLOCKS = 3
WINDOW = 4

_SIZES: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": HIDDEN, "num_hidden_layers": BLOCKS, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
_GROUPED = {"num_key_value_heads": 2}
_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
_WINDOWS = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
_LATENT = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16,
    "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "num_key_value_heads": 4,
}  # fmt: skip

SHARED: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "gpt_neo": {
        "num_layers": BLOCKS, "num_heads": 4, "attention_types": [[["global", "local", "global"], 1]], "window_size": WINDOW
    },
    "gpt_neox": {},
    "gptj": {"n_positions": 64, "rotary_dim": 8},
    "gpt_bigcode": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
    "bloom": {},
    "mpt": {"d_model": HIDDEN, "n_heads": 4, "n_layers": BLOCKS, "max_seq_len": 64},
    "falcon": {"alibi": False, "num_kv_heads": 2, "new_decoder_architecture": True},
    "llama": _GROUPED,
    "mistral": {**_GROUPED, "sliding_window": WINDOW},
    "mixtral": {**_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2": _GROUPED,
    "qwen3": {**_GROUPED, "head_dim": 8},
    "qwen3_moe": {**_GROUPED, **_EXPERTS, "head_dim": 8, "num_experts": 4},
    "phi": {},
    "phi3": {**_GROUPED, "sliding_window": WINDOW},
    "stablelm": {"num_key_value_heads": 4},
    "starcoder2": _GROUPED,
    "cohere2": {**_GROUPED, **_WINDOWS},
    "olmo2": _GROUPED,
    "gemma": {**_GROUPED, "head_dim": 8},
    "gemma2": {**_GROUPED, **_WINDOWS, "head_dim": 8},
    "gemma3_text": {**_GROUPED, **_WINDOWS, "head_dim": 8},
    "gemma4_text": {
        **_GROUPED, **_WINDOWS, "head_dim": 8, "global_head_dim": 8, "vocab_size_per_layer_input": VOCAB,
        "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 1,
        "layer_types": ["sliding_attention", "full_attention", "full_attention"],
    },
    "deepseek_v3": {**_LATENT, **_EXPERTS},
    "gpt_oss": {**_GROUPED, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": WINDOW},
}  # fmt: skip
"""Families whose standard cache serves a prefix-shared forward."""

PLAIN: dict[str, dict[str, Any]] = {
    "mamba": {"state_size": 8},
    "rwkv": {"attention_hidden_size": HIDDEN, "context_length": 64},
    "recurrent_gemma": {"num_key_value_heads": 1, "attention_window_size": WINDOW, "lru_width": HIDDEN},
    "openai-gpt": {"n_positions": 64},
}
"""Families without it."""

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "bert": ({}, "not causal"),
    "xlnet": ({"d_model": HIDDEN, "n_layer": BLOCKS, "n_head": 4, "d_inner": 48, "d_head": 8}, "several streams"),
    "gemma3n_text": (
        {
            **_GROUPED, **_WINDOWS, "head_dim": 8, "vocab_size_per_layer_input": VOCAB, "hidden_size_per_layer_input": 8,
            "num_kv_shared_layers": 0, "laurel_rank": 8, "activation_sparsity_pattern": [0.0] * BLOCKS,
        },
        "several streams",
    ),
}  # fmt: skip
"""Models whose states are not at their blocks, and what the message says."""


def tiny_config(family: str, **more: Any) -> PreTrainedConfig:
    """A configuration of ``family`` with sizes of a few dozens; sizes that a family lacks are left out."""
    known = {**SHARED, **PLAIN, **{name: options for name, (options, _) in REFUSED.items()}}[family]
    kind = CONFIG_MAPPING[family]
    names = set(kind().to_dict()) | set(kind.attribute_map)
    sizes = {name: value for name, value in _SIZES.items() if name in names}
    return kind(**{**sizes, **known, **more})


def tiny_model(config: PreTrainedConfig) -> transformers.PreTrainedModel:
    """The model of ``config``, weights seeded; large enough ones that attention is not uniform."""
    torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() >= 2 and weight.is_floating_point():
                weight.normal_(0, 0.15)
            elif name.endswith("bias"):
                weight.normal_(0, 0.05)
    return model


def save_tiny(folder: Path, family: str, **more: Any) -> Path:
    """Folder of a tiny model, without a tokenizer."""
    logging.disable_progress_bar()
    target = folder / family
    tiny_model(tiny_config(family, **more)).save_pretrained(target)
    logging.enable_progress_bar()
    return target


def prefix_rows(num_rows: int = 24, num_positions: int = 9, seed: int = 3) -> np.ndarray:
    """Token rows (row, position) in no order, with many shared prefixes and some duplicates."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(3, VOCAB, (num_rows, num_positions)).astype(np.int32)
    for row in range(1, num_rows):
        shared = rng.integers(0, num_positions + 1)
        rows[row, :shared] = rows[rng.integers(0, row), :shared]
    return rows
