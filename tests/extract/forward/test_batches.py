"""Batches against brute force: what the cache would hold at each slot, and which rows each node stands for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ie_store.extract.forward.batches import TileBatches, tile_batches
from ie_store.extract.forward.tiles import plan_tile, plan_tiles
from ie_store.prefixes import lexicographic_order

ROWS = st.tuples(st.integers(1, 30), st.integers(1, 7)).flatmap(lambda shape: arrays(np.int32, shape, elements=st.integers(0, 3)))


def played(plan: TileBatches, shape: tuple[int, ...]) -> np.ndarray:
    """Rows (row, position) put together from what each batch computes and what its paths find in the pool."""
    pool = np.full(plan.num_slots, -1)
    rows = np.full(shape, -1)
    for batch in plan.batches:
        num_nodes, num_new = batch.tokens.shape
        assert num_new == batch.stop - batch.start
        whole = batch.tokens
        if plan.num_slots:
            pool[batch.first_slot : batch.first_slot + batch.tokens.size] = batch.tokens.reshape(-1)
        if batch.block_table is not None:
            whole = pool[batch.block_table].reshape(num_nodes, batch.stop)
            assert (whole[:, batch.start :] == batch.tokens).all()
        nodes = np.arange(num_nodes) if batch.row_nodes is None else batch.row_nodes
        assert len(nodes) == batch.row_stop - batch.row_start
        here = rows[batch.row_start : batch.row_stop]
        assert (here[:, batch.start : batch.stop] == -1).all()
        here[:, batch.start : batch.stop] = batch.tokens[nodes]
        assert (here[:, : batch.stop] == whole[nodes]).all() or batch.start == 0
    return rows


@given(tokens=ROWS, rows_per_batch=st.integers(1, 9), sharing=st.booleans())
def test_batches_give_every_row_its_own_prefix(tokens: np.ndarray, rows_per_batch: int, sharing: bool) -> None:
    tokens = tokens[lexicographic_order(tokens)]
    tile = plan_tile(tokens, rows_per_batch, sharing=sharing)
    plan = tile_batches(tokens, tile)
    assert (tile.num_tokens, tile.num_batches, tile.num_slots) == (plan.num_tokens, len(plan.batches), plan.num_slots)
    assert (played(plan, tokens.shape) == tokens).all()
    assert plan.num_tokens <= tokens.size
    assert all(batch.num_tokens <= max(rows_per_batch, 1) * tokens.shape[1] for batch in plan.batches)
    if not sharing:
        assert plan.num_slots == 0
        assert plan.num_tokens == tokens.size


@given(tokens=ROWS, rows_per_batch=st.integers(1, 9))
def test_equal_prefixes_come_from_one_node(tokens: np.ndarray, rows_per_batch: int) -> None:
    """Rows that share a prefix of some length share the node at every cut up to it: their stored rows are the same bits."""
    tokens = tokens[lexicographic_order(tokens)]
    plan = tile_batches(tokens, plan_tile(tokens, rows_per_batch, sharing=True))
    for segment in plan.segments:
        keys = {tuple(tokens[row, : segment.stop]) for row in segment.node_rows}
        assert len(keys) == len(segment.node_rows) == len({tuple(row[: segment.stop]) for row in tokens})


@given(tokens=ROWS, rows_per_batch=st.integers(1, 9), slots_limit=st.integers(1, 60))
def test_blocks_together_are_the_group_and_keep_their_caches_small(
    tokens: np.ndarray, rows_per_batch: int, slots_limit: int
) -> None:
    tokens = tokens[lexicographic_order(tokens)]
    tiles = plan_tiles(tokens, rows_per_batch, sharing=True, slots_limit=slots_limit)
    assert [tile.start for tile in tiles] + [len(tokens)] == [0] + [tile.stop for tile in tiles]
    for tile in tiles:
        rows = tokens[tile.start : tile.stop]
        batches = tile_batches(tokens, tile)
        assert (played(batches, rows.shape) == rows).all()
        assert batches.num_slots == tile.num_slots
        assert tile.num_slots <= slots_limit or len(rows) == 1
