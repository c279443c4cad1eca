"""In what dtype states are stored where nobody says: float16, unless a sample of them comes near the end of its range."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ie_store.corpus.rows import Corpus
from ie_store.extract.engine import model_rows
from ie_store.extract.model.block_hooks import hooked
from ie_store.extract.model.load import LoadedModel
from ie_store.specs import StoredDtype

SAMPLED_ROWS, SAMPLED_TOKENS = 64, 256
MOST_TOKENS = 4096
"""Of the sampled rows together: fewer rows are looked at where they are long."""
HEADROOM = 0.5
"""Part of float16's range that a sample may reach; rows that were not looked at reach further."""
TOKENS_PER_FORWARD = 512


def choose_stored_dtype(largest: float) -> StoredDtype:
    """float16 where the ``largest`` magnitude of a sample leaves room in it, else bfloat16, whose range is that of float32."""
    return "float16" if largest <= HEADROOM * torch.finfo(torch.float16).max else "bfloat16"


def largest_state(model: LoadedModel, corpus: Corpus, layers: Sequence[int], positions: tuple[int, ...], seed: int) -> float:
    """Largest magnitude among the states that would be stored of a seeded sample of rows, and of lone tokens.

    Args:
        model: its forward ends after the last of ``layers`` or later.
        corpus: rows and tokens to draw from.
        layers: to be stored.
        positions: of macro states to be stored.
        seed: of the draw.

    Returns:
        NaN where a state is.
    """
    rng = np.random.default_rng(seed)
    num_rows = min(SAMPLED_ROWS, max(1, MOST_TOKENS // corpus.spec.num_positions))
    rows, tokens = _drawn(corpus.tokens, num_rows, rng), _drawn(corpus.token_values[:, None], SAMPLED_TOKENS, rng)
    of_rows = _largest(model, model_rows(rows, positions, model.bos_id), layers, positions)
    of_tokens = _largest(model, model_rows(tokens, (0,), model.bos_id), layers, (0,))
    return float(np.maximum(of_rows, of_tokens))


def _drawn(rows: NDArray[np.int32], number: int, rng: np.random.Generator) -> NDArray[np.int32]:
    chosen = rng.choice(len(rows), size=min(number, len(rows)), replace=False)
    drawn: NDArray[np.int32] = rows[np.sort(chosen)]
    return drawn


def _largest(model: LoadedModel, inputs: NDArray[np.int32], layers: Sequence[int], positions: tuple[int, ...]) -> float:
    """Largest magnitude at ``positions`` of ``layers``, of ``inputs`` (row, position) with what is prepended."""
    before = int(model.bos_id is not None)
    at, decoder = [position + before for position in positions], model.decoder
    peaks: list[torch.Tensor] = []

    def keep(layer: int, states: torch.Tensor) -> None:
        if layer in layers:
            peaks.append(states[:, at].abs().amax().float())

    together = max(1, TOKENS_PER_FORWARD // inputs.shape[1])
    for start in range(0, len(inputs), together):
        rows = torch.from_numpy(inputs[start : start + together].astype(np.int64)).to(model.device)
        with torch.inference_mode(), hooked(decoder.blocks, keep, decoder.last_layer):
            decoder.module(input_ids=rows, use_cache=False)
    return float(torch.stack(peaks).amax())
