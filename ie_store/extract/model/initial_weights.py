"""A model of the same architecture with the weights that training would start from, drawn from a seed."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel


def initial_model(config: PreTrainedConfig, seed: int, dtype: torch.dtype, options: dict[str, Any]) -> PreTrainedModel:
    """The causal language model of ``config`` in ``dtype``, initialised as its own code does; tied weights are tied.

    The caller's random numbers are left as they were.

    Args:
        config: architecture, and what its initialisation reads: ``initializer_range`` for most.
        seed: of the draw.
        dtype: of the weights.
        options: for ``AutoModelForCausalLM.from_config``.
    """
    auto: Any = AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn: PreTrainedModel = auto.from_config(config, dtype=torch.float32, **options)
        if dtype == torch.float32:
            return drawn
        # Drawn in float32 whatever the dtype, so that the float32 model of the audit has the same weights, rounded nowhere;
        # copied into a model made in the dtype, because casting one would round its rotary frequencies as well.
        model: PreTrainedModel = auto.from_config(config, dtype=dtype, **options)
    model.load_state_dict(drawn.state_dict())
    return model
