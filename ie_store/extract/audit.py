"""How far the stored states are from a float32 recomputation, one sequence at a time, as read back from the store."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ie_store.errors import StoreError
from ie_store.extract.engine import Engine, model_rows
from ie_store.extract.model.load import LoadedModel, load_weights
from ie_store.options import ExtractSpec
from ie_store.specs import LEVELS, Level, Slab, StoreLayout
from ie_store.store.dataset.reader import DatasetReader
from ie_store.store.dataset.slab_read import decoded

AUDIT_LIMIT = 1e-2
"""Relative error above which states that were computed in float32 cannot be right in any stored dtype."""


def spread_rows(num_rows: int, num_chosen: int, seed: int) -> NDArray[np.int64]:
    """Rows (row,) drawn one from each of ``num_chosen`` equal stretches of 0..num_rows-1."""
    edges = np.linspace(0, num_rows, min(num_chosen, num_rows) + 1).astype(np.int64)
    return np.random.default_rng(seed).integers(edges[:-1], edges[1:])


def reference_model(spec: ExtractSpec, model: LoadedModel) -> LoadedModel:
    """The model in float32, ending at the same layer: itself, or loaded again after its weights in another dtype are dropped."""
    if model.spec.compute_dtype == "float32":
        return model
    model.decoder.module.to("meta")
    loaded = load_weights(replace(spec, compute_dtype="float32"), replace(model.opened, compute_dtype="float32"))
    return replace(loaded, decoder=loaded.decoder.ending_at(model.decoder.last_layer))


def audit(engine: Engine, reader: DatasetReader, num_rows: int, seed: int, on_row: Callable[[int, int], None]) -> dict[str, Any]:
    """Relative error (norm over norm, all audited rows and positions together) of each stored layer.

    Args:
        engine: with the float32 model.
        reader: the dataset.
        num_rows: rows to recompute, and as many lone tokens.
        seed: of their choice.
        on_row: called with rows done, and of all.

    Returns:
        ``{"rows": n, "relative_error": {layer: value}, "micro_rows": m, "micro_relative_error": {layer: value}}``.
    """
    chosen = {level: spread_rows(reader.num_rows(level), num_rows, seed) for level in LEVELS}
    total, done = sum(map(len, chosen.values())), 0
    errors: dict[Level, dict[str, float]] = {}
    for level, rows in chosen.items():
        squares = np.zeros((2, len(reader.layout.layers)))
        for together in _by_shard(reader.layout, level, rows):
            squares += _squares(engine, reader, level, together)
            done += len(together)
            on_row(done, total)
        relative = np.sqrt(squares[0] / np.maximum(squares[1], np.finfo(np.float64).tiny))
        errors[level] = dict(zip(map(str, reader.layout.layers), relative.tolist(), strict=True))
    return {
        "rows": len(chosen["macro"]),
        "relative_error": errors["macro"],
        "micro_rows": len(chosen["micro"]),
        "micro_relative_error": errors["micro"],
    }


def _by_shard(layout: StoreLayout, level: Level, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rising ``rows``, those of one shard together."""
    shards = rows // layout.level(level).rows_per_shard
    return np.split(rows, np.flatnonzero(np.diff(shards)) + 1)


def _squares(engine: Engine, reader: DatasetReader, level: Level, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Squared norms (2, stored layer) of the difference and of the reference, over rows of one shard at all stored positions."""
    positions, layers = engine.positions(level), reader.layout.layers
    tokens = reader.tokens if level == "macro" else reader.token_values[:, None]
    expected = np.stack([_reference(engine, tokens[row : row + 1], positions, layers) for row in rows.tolist()])
    sums = np.zeros((2, len(layers)))
    for (i, layer), (j, position) in itertools.product(enumerate(layers), enumerate(positions)):
        slab = Slab.of(level, layer, position)
        stored = decoded(reader.read_rows(slab, int(rows[0]), int(rows[-1]) + 1)[rows - rows[0]])
        wanted = expected[:, i, j].astype(np.float64)
        sums[:, i] += ((stored - wanted) ** 2).sum(), (wanted**2).sum()
    return sums


def _reference(
    engine: Engine, tokens: NDArray[np.int32], positions: tuple[int, ...], layers: tuple[int, ...]
) -> NDArray[np.float32]:
    """States (stored layer, stored position, hidden) of one row ``tokens`` (1, position), from a forward of its own."""
    inputs = model_rows(tokens, positions, engine.model.bos_id)
    num_before = inputs.shape[1] - 1 - positions[-1]
    states = engine.model.decoder.plain_states(torch.from_numpy(inputs.astype(np.int64)).to(engine.model.device))
    at = [position + num_before for position in positions]
    return np.stack([states[layer][0, at].float().cpu().numpy() for layer in layers])


def require_close(result: dict[str, Any], compute_dtype: str, address: str) -> None:
    """Raise `StoreError` where states computed in float32 are far from their recomputation."""
    worst = max([*result["relative_error"].values(), *result["micro_relative_error"].values()])
    if compute_dtype == "float32" and not worst <= AUDIT_LIMIT:
        raise StoreError(
            f"{address}: the stored states differ from a float32 recomputation by {worst:.2g} (norm over norm; at most "
            f"{AUDIT_LIMIT:g} is rounding); the dataset is marked incomplete: check the machine and extract again with --replace"
        )
