"""How a dataset is cut: chosen once, from the corpus and the model alone, and kept with the dataset."""

from dataclasses import replace

from ie_store.corpus.rows import Corpus
from ie_store.extract.model.load import LoadedModel
from ie_store.grid import SHARD_BYTES_LIMIT, parse_selection, power_of_two_rows
from ie_store.options import ExtractSpec
from ie_store.specs import ITEM_BYTES, StoredDtype, StoreLayout

TOKENS_PER_BATCH = {"cpu": 512, "cuda": 16384}
"""Tokens of a forward: as few as keep a CPU's caches warm, as many as fill a GPU."""
GROUP_BYTES_LIMIT = 2**30
"""Raw bytes of a group; two of them are in memory."""


def num_blocks_for(layers: tuple[int, ...]) -> int:
    """Blocks that must run for ``layers``. One at least: from its keys the cache knows how many positions lie behind."""
    return max(1, *layers)


def choose_layout(
    spec: ExtractSpec,
    model: LoadedModel,
    corpus: Corpus,
    dtype: StoredDtype,
    stored: StoreLayout | None,
    shard_bytes: int = SHARD_BYTES_LIMIT,
) -> StoreLayout:
    """The layout of a new dataset, or that of the stored one where only batches could differ.

    Args:
        spec: the user's selections and batch size.
        model: sizes, and the kind of device.
        corpus: sizes.
        dtype: in which states are stored.
        stored: layout of a dataset of the same name; without an explicit batch size its batches are kept, so that a
            dataset can be resumed on another kind of device.
        shard_bytes: limit of a shard's raw bytes.

    Raises:
        InputError: a selection of layers or positions that does not exist.
    """
    num_layers, num_positions = model.decoder.num_layers, corpus.spec.num_positions
    layers = parse_selection(spec.layers, num_layers, "layers")
    positions = parse_selection(spec.positions, num_positions, "positions")
    num_tokens = len(corpus.token_values)
    layer_bytes = len(layers) * model.spec.hidden_size * ITEM_BYTES[dtype]
    rows_per_shard = power_of_two_rows(layer_bytes * len(positions), corpus.spec.num_sequences, shard_bytes)
    budget = TOKENS_PER_BATCH.get(model.device.type, TOKENS_PER_BATCH["cuda"])
    rows_per_batch = spec.batch_size or max(1, budget // num_positions)
    shards_per_group = 1
    group_rows, group_bytes = rows_per_shard, rows_per_shard * layer_bytes * len(positions)
    while group_rows < min(rows_per_batch, corpus.spec.num_sequences) and 2 * group_bytes <= GROUP_BYTES_LIMIT:
        shards_per_group, group_rows, group_bytes = 2 * shards_per_group, 2 * group_rows, 2 * group_bytes
    layout = StoreLayout(
        num_layers=num_layers,
        num_positions=num_positions,
        num_sequences=corpus.spec.num_sequences,
        num_tokens=num_tokens,
        hidden_size=model.spec.hidden_size,
        stored_dtype=dtype,
        layers=layers,
        positions=positions,
        rows_per_shard=rows_per_shard,
        tokens_per_shard=power_of_two_rows(layer_bytes, num_tokens, shard_bytes),
        shards_per_group=shards_per_group,
        rows_per_batch=rows_per_batch,
    )
    if stored is None or spec.batch_size:
        return layout
    as_stored = replace(layout, shards_per_group=stored.shards_per_group, rows_per_batch=stored.rows_per_batch)
    return as_stored if as_stored == stored else layout
