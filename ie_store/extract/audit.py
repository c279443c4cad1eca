"""How far the stored states are from a float32 recomputation, one sequence at a time, as read back from the store."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ie_store.errors import StoreError
from ie_store.extract.group import Engine, model_rows
from ie_store.extract.model import LoadedModel, load_model
from ie_store.options import ExtractSpec
from ie_store.specs import Level, Slab
from ie_store.store.reader import DatasetReader
from ie_store.store.slabs import decoded

AUDIT_LIMIT = 1e-2
"""Relative error above which states that were computed in float32 cannot be right in any stored dtype."""


def spread_rows(num_rows: int, num_chosen: int, seed: int) -> NDArray[np.int64]:
    """Rows (row,) drawn one from each of ``num_chosen`` equal stretches of 0..num_rows-1."""
    edges = np.linspace(0, num_rows, min(num_chosen, num_rows) + 1).astype(np.int64)
    return np.random.default_rng(seed).integers(edges[:-1], edges[1:])


def reference_model(spec: ExtractSpec, model: LoadedModel) -> LoadedModel:
    """The model in float32: itself, or loaded again after its weights in another dtype are dropped."""
    if model.spec.compute_dtype == "float32":
        return model
    model.decoder.module.to("meta")
    return load_model(replace(spec, compute_dtype="float32"))


def audit(engine: Engine, reader: DatasetReader, num_rows: int, seed: int, on_row: Callable[[int, int], None]) -> dict[str, Any]:
    """Relative error (norm over norm, all audited rows and positions together) of each stored layer.

    Args:
        engine: with the float32 model.
        reader: the dataset.
        num_rows: rows to recompute, and as many lone tokens.
        seed: of their choice.
        on_row: told of rows done, and of all.

    Returns:
        ``{"rows": n, "relative_error": {layer: value}, "micro_rows": m, "micro_relative_error": {layer: value}}``.
    """
    chosen: dict[Level, NDArray[np.int64]] = {
        "macro": spread_rows(reader.layout.num_sequences, num_rows, seed),
        "micro": spread_rows(reader.layout.num_tokens, num_rows, seed),
    }
    total, done = sum(map(len, chosen.values())), 0
    errors: dict[Level, dict[str, float]] = {}
    for level, rows in chosen.items():
        tokens = reader.tokens if level == "macro" else reader.token_values[:, None]
        squares = np.zeros((2, len(reader.layout.layers)))
        for row in rows.tolist():
            squares += _squares(engine, reader, level, row, tokens[row : row + 1])
            done += 1
            on_row(done, total)
        relative = np.sqrt(squares[0] / np.maximum(squares[1], np.finfo(np.float64).tiny))
        errors[level] = dict(zip(map(str, reader.layout.layers), relative.tolist(), strict=True))
    return {
        "rows": len(chosen["macro"]),
        "relative_error": errors["macro"],
        "micro_rows": len(chosen["micro"]),
        "micro_relative_error": errors["micro"],
    }


def _squares(engine: Engine, reader: DatasetReader, level: Level, row: int, tokens: NDArray[np.int32]) -> NDArray[np.float64]:
    """Squared norms (2, stored layer) of the difference and of the reference, of one row at all its stored positions."""
    positions = engine.positions(level)
    inputs = torch.from_numpy(model_rows(tokens, positions, engine.model.bos_id).astype(np.int64)).to(engine.model.device)
    reference = engine.model.decoder.plain_states(inputs)
    at = torch.tensor(positions, device=inputs.device) + (inputs.shape[1] - 1 - positions[-1])
    sums = np.zeros((2, len(reader.layout.layers)))
    for index, layer in enumerate(reader.layout.layers):
        slabs = [Slab(level=level, layer=layer, position=p if level == "macro" else None) for p in positions]
        stored = np.concatenate([decoded(reader.read_rows(slab, row, row + 1)) for slab in slabs]).astype(np.float64)
        expected = reference[layer][0, at].double().cpu().numpy()
        sums[:, index] = ((stored - expected) ** 2).sum(), (expected**2).sum()
    return sums


def require_close(result: dict[str, Any], compute_dtype: str, address: str) -> None:
    """Raise `StoreError` where states computed in float32 are far from their recomputation."""
    worst = max([*result["relative_error"].values(), *result["micro_relative_error"].values()])
    if compute_dtype == "float32" and not worst <= AUDIT_LIMIT:
        raise StoreError(
            f"{address}: the stored states differ from a float32 recomputation by {worst:.2g} (norm over norm; at most "
            f"{AUDIT_LIMIT:g} is rounding); the dataset is marked incomplete: check the machine and extract again with --replace"
        )
