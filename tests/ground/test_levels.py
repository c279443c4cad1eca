"""What macro and micro differ in, against what is counted by hand."""

import itertools

import pytest

from ie_store.levels import LEVELS, Slab, place_of
from ie_store.specs import StoreLayout

LAYOUT = StoreLayout(
    num_layers=4, num_positions=3, num_sequences=21, num_tokens=7, hidden_size=5, stored_dtype="float16", layers=(0, 3),
    positions=(1, 2), rows_per_shard=8, tokens_per_shard=4, shards_per_group=2, rows_per_batch=16,
)  # fmt: skip


def test_the_two_levels_of_a_layout():
    macro, micro = LAYOUT.level("macro"), LAYOUT.level("micro")
    assert (macro.dimensions, micro.dimensions) == (("layer", "position", "sequence", "hidden"), ("layer", "token", "hidden"))
    assert (macro.axes, micro.axes) == (("layer", "position"), ("layer",))
    assert (macro.grid, micro.grid) == ((4, 3), (4,))
    assert (macro.stored, micro.stored) == (((0, 3), (1, 2)), ((0, 3),))
    assert (macro.num_rows, micro.num_rows, macro.num_shards, micro.num_shards) == (21, 7, 3, 2)
    assert (macro.chunk_bytes, micro.chunk_bytes) == (8 * 5 * 2, 4 * 5 * 2)
    assert (macro.dense_bytes, micro.dense_bytes) == (2 * 2 * 21 * 5 * 2, 2 * 7 * 5 * 2)
    assert (macro.shards_per_group, micro.shards_per_group) == (2, 1)
    assert (macro.shard_key(2), micro.shard_key(1)) == ("macro/c/0/0/2/0", "micro/c/0/1/0")
    assert (macro.commit_key(2), micro.commit_key(1)) == ("ledger/macro/c/2/0/0", "ledger/micro/c/1/0")


@pytest.mark.parametrize("level", LEVELS)
def test_shards_hold_every_row_once(level):
    states = LAYOUT.level(level)
    shards = [states.shard(index) for index in range(states.num_shards)]
    rows = list(itertools.chain.from_iterable(range(shard.start, shard.stop) for shard in shards))
    assert rows == list(range(states.num_rows))
    assert {shard.size for shard in shards} == {states.rows_per_shard}


@pytest.mark.parametrize("level", LEVELS)
def test_every_stored_cell_is_a_slab_and_back(level):
    states = LAYOUT.level(level)
    assert states.stored_cells == sorted(set(itertools.product(*states.stored)))
    assert [states.slab(cell).cell for cell in states.stored_cells] == states.stored_cells


def test_lone_tokens_have_one_slab_at_every_position():
    assert Slab.of("micro", 2, 0) == Slab.of("micro", 2, 1) == Slab(level="micro", layer=2, position=None)
    assert Slab.of("macro", 2, 1) == Slab(level="macro", layer=2, position=1)


def test_places_are_called_the_same_everywhere():
    assert str(Slab(level="macro", layer=9, position=7)) == place_of("macro", (9, 7)) == "macro layer 9, position 7"
    assert str(Slab(level="micro", layer=9, position=None)) == "micro layer 9"
    assert str(LAYOUT.shard("macro", 2)) == place_of("macro", shard=2) == "macro shard 2"
    assert place_of("macro", (9, 7), 2) == "macro shard 2, layer 9, position 7"
