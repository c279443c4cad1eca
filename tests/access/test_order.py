"""The order of batches: every row once, uniform where all rows fit, within groups of whole shards where they do not."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ie_store.access.order import make_order
from ie_store.errors import InputError


def order_of(rows, most_rows, size=4, shuffle=True, seed=0, epoch=0):
    return make_order(
        np.asarray(rows), rows_per_shard=size, most_rows=most_rows, shuffle=shuffle, seed=seed, epoch=epoch
    )  # fmt: skip


@given(rows=st.sets(st.integers(0, 60), min_size=1), most_rows=st.integers(4, 70), shuffle=st.booleans(), epoch=st.integers(0, 5))
def test_every_row_comes_once_and_groups_fit(rows, most_rows, shuffle, epoch):
    rising = sorted(rows)
    order = order_of(rising, most_rows, shuffle=shuffle, epoch=epoch)
    listed = np.concatenate(order.groups).tolist()
    assert sorted(listed) == rising
    assert order.num_rows == len(rising)
    assert max(map(len, order.groups)) <= most_rows
    if not shuffle:
        assert listed == rising
    shards = [set((group // 4).tolist()) for group in order.groups]
    assert sum(map(len, shards)) == len(set.union(*shards)), "a shard is read twice"


def test_what_fits_is_a_uniform_permutation():
    counts = Counter(tuple(order_of(range(4), 4, size=2, epoch=epoch).groups[0].tolist()) for epoch in range(2400))
    assert set(counts) == set(permutations(range(4)))
    expected = 2400 / 24
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 49.7  # 0.1% of chi-square with 23 degrees


def test_where_rows_do_not_fit_shards_meet_by_chance_and_rows_mix_among_them():
    pairs, firsts = Counter(), Counter()
    for epoch in range(600):
        order = order_of(range(16), 8, epoch=epoch)
        assert len(order.groups) == 2
        pairs[tuple(sorted(set((order.groups[0] // 4).tolist())))] += 1
        firsts[int(order.groups[0][0])] += 1
    assert len(pairs) == 6
    assert len(firsts) == 16
    assert "not a uniform permutation: 4 shards shuffled, and rows mixed within groups of at most 8" in order.described


def test_seed_and_epoch_decide():
    def first(**changed):
        return order_of(range(40), 40, **changed).groups[0].tolist()

    assert first() == first()
    assert len({tuple(first(seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_too_little_memory_is_refused():
    with pytest.raises(InputError, match="room for 3 rows and a shard holds 4"):
        order_of(range(8), 3)
