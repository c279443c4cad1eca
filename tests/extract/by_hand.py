"""Decoders written out from their papers in numpy, float64, from raw weights. They share no code with transformers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = dict[str, Array]


def layer_norm(x: Array, weight: Array, bias: Array, epsilon: float) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon) * weight + bias


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * weight


def gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def attend(query: Array, key: Array, value: Array) -> Array:
    """Causal attention over (head, position, size), keys and values shared by groups of heads; (position, head x size)."""
    group = query.shape[0] // key.shape[0]
    outputs = []
    for head, q in enumerate(query):
        k, v = key[head // group], value[head // group]
        scores = q @ k.T / np.sqrt(q.shape[-1])
        scores[np.triu_indices(len(scores), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        outputs.append(weights / weights.sum(-1, keepdims=True) @ v)
    return np.concatenate(outputs, axis=-1)


def heads(x: Array, size: int) -> Array:
    return x.reshape(len(x), -1, size).transpose(1, 0, 2)


def rotated(x: Array, base: float) -> Array:
    """Rotary positions on (head, position, size): dimension i turns with i + size/2 (RoFormer, in Llama's arrangement)."""
    half = x.shape[-1] // 2
    angles = np.arange(x.shape[1])[:, None] * base ** (-np.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def gpt2(weights: Weights, config: Any, tokens: NDArray[Any]) -> list[Array]:
    """States (position, hidden) of layers 0..L of one sequence."""
    size = config.n_embd // config.n_head
    x = weights["transformer.wte.weight"][tokens] + weights["transformer.wpe.weight"][: len(tokens)]
    states = [x]
    for block in range(config.n_layer):
        w = {name.removeprefix(f"transformer.h.{block}."): value for name, value in weights.items()}
        normed = layer_norm(x, w["ln_1.weight"], w["ln_1.bias"], config.layer_norm_epsilon)
        query, key, value = np.split(normed @ w["attn.c_attn.weight"] + w["attn.c_attn.bias"], 3, axis=-1)
        mixed = attend(heads(query, size), heads(key, size), heads(value, size))
        x = x + mixed @ w["attn.c_proj.weight"] + w["attn.c_proj.bias"]
        normed = layer_norm(x, w["ln_2.weight"], w["ln_2.bias"], config.layer_norm_epsilon)
        inner = gelu_tanh(normed @ w["mlp.c_fc.weight"] + w["mlp.c_fc.bias"])
        x = x + inner @ w["mlp.c_proj.weight"] + w["mlp.c_proj.bias"]
        states.append(x)
    return states


def llama(weights: Weights, config: Any, tokens: NDArray[Any]) -> list[Array]:
    """States (position, hidden) of layers 0..L of one sequence."""
    return _llama_type(weights, config, tokens, scale=1.0, shift=0.0, activation=silu)


def gemma(weights: Weights, config: Any, tokens: NDArray[Any]) -> list[Array]:
    """The same of a Gemma: scaled embeddings, norms around 1, a tanh GELU."""
    return _llama_type(weights, config, tokens, scale=np.sqrt(config.hidden_size), shift=1.0, activation=gelu_tanh)


def _llama_type(
    weights: Weights, config: Any, tokens: NDArray[Any], *, scale: float, shift: float, activation: Callable[[Array], Array]
) -> list[Array]:
    size, base, epsilon = config.head_dim, config.rope_parameters["rope_theta"], config.rms_norm_eps
    x = weights["model.embed_tokens.weight"][tokens] * scale
    states = [x]
    for block in range(config.num_hidden_layers):
        w = {name.removeprefix(f"model.layers.{block}."): value for name, value in weights.items()}
        normed = rms_norm(x, w["input_layernorm.weight"] + shift, epsilon)
        query, key, value = (heads(normed @ w[f"self_attn.{name}_proj.weight"].T, size) for name in "qkv")
        mixed = attend(rotated(query, base), rotated(key, base), value)
        x = x + mixed @ w["self_attn.o_proj.weight"].T
        normed = rms_norm(x, w["post_attention_layernorm.weight"] + shift, epsilon)
        inner = activation(normed @ w["mlp.gate_proj.weight"].T) * (normed @ w["mlp.up_proj.weight"].T)
        x = x + inner @ w["mlp.down_proj.weight"].T
        states.append(x)
    return states
