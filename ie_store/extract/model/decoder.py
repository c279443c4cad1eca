"""The part of a causal language model that is run: embeddings and blocks, without the head that makes logits."""

import inspect
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ie_store.errors import InputError
from ie_store.extract.model.block_hooks import find_blocks, hooked, same_states

_PROBE_LENGTH = 4
CAUSAL_TOLERANCE = 1e-3
"""Relative change of an earlier state when a later token changes, above which a model is not causal."""


@dataclass(frozen=True)
class Decoder:
    """What the forward needs: a module to call with token ids, and the blocks inside it to tap."""

    module: nn.Module
    blocks: nn.ModuleList
    end: int | None = None
    """Layer after which a forward ends; None for the last one."""

    @property
    def num_layers(self) -> int:
        """L + 1, whatever the forward ends after."""
        return len(self.blocks) + 1

    @property
    def last_layer(self) -> int:
        """The last layer that a forward computes, and the number of blocks that run for it."""
        return len(self.blocks) if self.end is None else self.end

    def ending_at(self, layer: int) -> "Decoder":
        """The decoder whose forward ends after ``layer``; the weights of blocks behind it leave memory for good."""
        kept = {id(module) for block in self.blocks[:layer] for module in block.modules()}
        for block in self.blocks[layer:]:
            if not any(id(module) in kept for module in block.modules()):
                block.to("meta")
        return replace(self, end=layer)

    def hidden_size(self, device: torch.device) -> int:
        """Length of a state, as the blocks have it."""
        return int(self.plain_states(torch.zeros((1, 1), dtype=torch.int64, device=device))[0].shape[-1])

    def plain_states(self, tokens: Tensor) -> list[Tensor]:
        """States (sequence, position, hidden) of each layer that a plain forward over ``tokens`` computes, layer 0 first."""
        states: list[Tensor] = []
        with torch.inference_mode(), hooked(self.blocks, lambda layer, state: states.append(state.clone()), self.last_layer):
            self.module(input_ids=tokens, use_cache=False)
        return states


def find_decoder(model: PreTrainedModel, device: torch.device) -> Decoder:
    """The innermost module around the blocks that takes token ids and computes the same states as the whole model.

    Raises:
        InputError: the blocks cannot be found, or the model is not causal.
    """
    num_blocks = getattr(model.config.get_text_config(decoder=True), "num_hidden_layers", None)
    tokens = torch.arange(1, 1 + _PROBE_LENGTH, device=device)[None]
    name, blocks = find_blocks(model, tokens, num_blocks)
    whole = Decoder(model, blocks)
    states = whole.plain_states(tokens)
    decoder = next((inner for inner in _inner_decoders(model, name, blocks) if _agrees(inner, tokens, states)), whole)
    _require_causal(decoder, tokens)
    return decoder


def _inner_decoders(model: PreTrainedModel, name: str, blocks: nn.ModuleList) -> list[Decoder]:
    """Models around the blocks that take token ids, innermost first, the whole model left out."""
    parts = name.split(".")
    around = [model.get_submodule(".".join(parts[:depth])) for depth in range(len(parts) - 1, 0, -1)]
    return [Decoder(module, blocks) for module in around if isinstance(module, PreTrainedModel) and _takes_tokens(module)]


def _takes_tokens(module: nn.Module) -> bool:
    return "input_ids" in inspect.signature(module.forward).parameters


def _agrees(decoder: Decoder, tokens: Tensor, states: list[Tensor]) -> bool:
    try:
        return all(map(same_states, decoder.plain_states(tokens), states))
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return False


def _require_causal(decoder: Decoder, tokens: Tensor) -> None:
    """Changing the last token must leave all states before it as they are."""
    changed = tokens.clone()
    changed[0, -1] = 0
    for layer, (first, second) in enumerate(zip(decoder.plain_states(tokens), decoder.plain_states(changed), strict=True)):
        if relative_error(second[:, :-1], first[:, :-1]) > CAUSAL_TOLERANCE:
            raise InputError(
                f"{type(decoder.module).__name__} is not causal: at layer {layer} a later token changes the states of earlier "
                "ones, so a state is not that of its prefix; give a causal language model"
            )


def relative_error(states: Tensor, reference: Tensor) -> float:
    """Norm of the difference over the norm of the reference, in float64."""
    difference: Any = torch.linalg.vector_norm(states.double() - reference.double())
    return float(difference / torch.linalg.vector_norm(reference.double()).clamp_min(torch.finfo(torch.float64).tiny))
