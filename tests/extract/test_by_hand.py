"""Stored states against hand-runs: whole models in numpy, and transformers' own blocks with masks and positions by hand."""

import functools
from collections.abc import Callable
from pathlib import Path

import by_hand
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tiny_models import WINDOW, prefix_rows, save_tiny, tiny_config, tiny_model
from transformers import AutoConfig

from ie_store.extract.model.decoder import find_decoder
from ie_store.extract.run import extract
from ie_store.options import ExtractSpec
from ie_store.specs import Slab
from ie_store.store.open import open_reader

LIMITS = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 4e-3}


States = Callable[[tuple[int, ...]], np.ndarray]


@pytest.fixture(scope="module")
def written_out(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, States]]:
    """Folder of a tiny model of a family, and its states (layer, position, hidden) of a row of tokens."""

    @functools.cache
    def make(family: str) -> tuple[Path, States]:
        folder = save_tiny(tmp_path_factory.mktemp("models"), family)
        weights = {name: value.astype(np.float64) for name, value in load_file(folder / "model.safetensors").items()}
        run, config = getattr(by_hand, family), AutoConfig.from_pretrained(folder)
        return folder, functools.cache(lambda row: run(weights, config, np.array(row)))

    return make


@pytest.mark.parametrize(
    "dtype", ["float32", *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in ("float16", "bfloat16"))]
)
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma"])
def test_stored_states_are_those_of_a_model_written_out_by_hand(
    family: str, dtype: str, tmp_path: Path, written_out: Callable[[str], tuple[Path, States]]
) -> None:
    folder, states = written_out(family)
    np.save(tmp_path / "rows.npy", prefix_rows())
    report = extract(
        ExtractSpec(store=str(tmp_path / "store"), model=str(folder), corpus=f"tokens:{tmp_path / 'rows.npy'}", dtype=dtype)
    )
    assert report.plan.forward == "prefix-shared"
    reader = open_reader(str(tmp_path / "store"), report.name)
    expected = np.stack([states(tuple(row)) for row in reader.tokens.tolist()], axis=2)
    alone = np.stack([states((token,)) for token in reader.token_values.tolist()], axis=2)
    for layer in range(reader.layout.num_layers):
        macro = [decoded(reader.read_slab(Slab(level="macro", layer=layer, position=p))) for p in range(9)]
        assert norm_error(np.stack(macro), expected[layer]) <= LIMITS[dtype], f"macro layer {layer}"
        micro = decoded(reader.read_slab(Slab(level="micro", layer=layer, position=None)))
        assert norm_error(micro, alone[layer][0]) <= LIMITS[dtype], f"micro layer {layer}"


def decoded(states: np.ndarray) -> np.ndarray:
    return (states.astype(np.uint32) << 16).view(np.float32) if states.dtype == np.uint16 else states


def norm_error(states: np.ndarray, expected: np.ndarray) -> float:
    difference = states.astype(np.float64) - expected
    return float(np.linalg.norm(difference) / np.linalg.norm(expected))


def windowed(length: int, window: int | None) -> torch.Tensor:
    """Additive mask (1, 1, query, key): 0 where the key is at most ``window`` - 1 positions back, and not ahead."""
    back = np.arange(length)[:, None] - np.arange(length)[None]
    seen = (back >= 0) & (back < (window or length))
    return torch.from_numpy(np.where(seen, 0.0, -np.inf).astype(np.float32))[None, None]


@pytest.mark.parametrize("family", ["mistral", "qwen3", "phi3", "gemma2", "gemma3_text"])
def test_states_are_those_of_the_blocks_called_one_by_one(family: str) -> None:
    config = tiny_config(family)
    model = tiny_model(config)
    tokens = torch.from_numpy(prefix_rows(num_rows=3).astype(np.int64))
    inner, positions = model.model, torch.arange(tokens.shape[1])[None]
    scale = config.hidden_size**0.5 if family.startswith("gemma") else 1.0
    kinds = getattr(config, "layer_types", None) or [
        "sliding_attention" if getattr(config, "sliding_window", None) else "full_attention"
    ] * len(inner.layers)
    with torch.no_grad():
        states = [inner.embed_tokens.weight[tokens] * scale]
        for kind, block in zip(kinds, inner.layers, strict=True):
            turned = (kind,) if family == "gemma3_text" else ()
            output = block(
                states[-1],
                position_embeddings=inner.rotary_emb(states[-1], positions, *turned),
                attention_mask=windowed(tokens.shape[1], WINDOW if kind == "sliding_attention" else None),
                position_ids=positions,
                past_key_values=None,
            )
            states.append(output[0] if isinstance(output, tuple) else output)
    found = find_decoder(model, torch.device("cpu")).plain_states(tokens)
    assert len(found) == len(states)
    for layer, (mine, theirs) in enumerate(zip(found, states, strict=True)):
        assert norm_error(mine.numpy(), theirs.numpy()) <= 1e-5, layer
