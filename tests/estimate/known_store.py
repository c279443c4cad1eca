"""A small dataset whose states are seeded functions of what a causal model would see: prefixes and lone tokens."""

import functools

import numpy as np

from ie_store.fingerprint import fingerprint
from ie_store.prefixes import lexicographic_order
from ie_store.specs import CorpusSpec, DatasetIdentity, ModelSpec, StoreLayout
from ie_store.store.dataset.writer import open_writer

NAME = "toy/rows"


@functools.cache
def state(layer, prefix, hidden):
    """What a model with a causal mask and injective layers would say about a prefix."""
    seen = prefix[-1:] if layer == 0 else prefix
    return np.random.default_rng([layer, *seen]).standard_normal(hidden)


def random_tokens(rows, positions=3, kinds=4, seed=0):
    tokens = np.random.default_rng(seed).integers(0, kinds, (rows, positions)).astype(np.int32) * 5 + 2
    return tokens[lexicographic_order(tokens)]


def make_states(tokens, layers, hidden):
    """macro (layer, position, sequence, hidden) and micro (layer, token, hidden)."""
    positions = tokens.shape[1]
    macro = [
        [[state(c, tuple(row[: t + 1]), hidden) for row in tokens.tolist()] for t in range(positions)] for c in range(layers)
    ]
    micro = [[state(c, (token,), hidden) for token in np.unique(tokens).tolist()] for c in range(layers)]
    return np.array(macro), np.array(micro)


def write_store(
    store, tokens, *, layers=3, hidden=6, dtype="float32", stored_layers=None, stored_positions=None, change=None,
    complete=True, replace=False, **corpus_fields,
):  # fmt: skip
    """Write ``tokens`` and their states; ``change(macro, micro)`` may spoil them first."""
    rows, positions = tokens.shape
    macro, micro = make_states(tokens, layers, hidden)
    if change is not None:
        change(macro, micro)
    layout = StoreLayout(
        num_layers=layers, num_positions=positions, num_sequences=rows, num_tokens=len(np.unique(tokens)), hidden_size=hidden,
        stored_dtype=dtype, layers=stored_layers or tuple(range(layers)), positions=stored_positions or tuple(range(positions)),
        rows_per_shard=64, tokens_per_shard=4, shards_per_group=1, rows_per_batch=16,
    )  # fmt: skip
    model = ModelSpec(
        id="toy", revision=None, weights_digest="w", tokenizer_digest=None, num_blocks=layers - 1, hidden_size=hidden,
        vocab_size=100, compute_dtype="float32", attention="sdpa", bos="none",
    )  # fmt: skip
    found = fingerprint(tokens, np.arange(rows), {})
    spec = CorpusSpec(
        **{
            "recipe": "r",
            "name": "rows",
            "fingerprint": found,
            "num_sequences": rows,
            "num_positions": positions,
            "complete": False,
        }
        | corpus_fields
    )
    identity = DatasetIdentity(model=model, corpus_fingerprint=found, recipe="r", layout=layout)
    with open_writer(
        str(store), NAME, identity=identity, corpus=spec, tokens=tokens, source_row=np.arange(rows), labels={}, session={},
        replace=replace,
    ) as writer:  # fmt: skip
        for level, states in (("macro", macro), ("micro", micro)):
            chosen = states[list(layout.layers)]
            chosen = chosen[:, list(layout.positions)] if level == "macro" else chosen
            for index in range(layout.num_shards(level)):
                shard = layout.shard(level, index)
                part = np.ascontiguousarray(chosen[..., shard.start : shard.stop, :]).astype(dtype)
                writer.write_shard(shard, part)
        if complete:
            writer.mark_complete({"rows": 0, "relative_error": {}})
    return str(store)
