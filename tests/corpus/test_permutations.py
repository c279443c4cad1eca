from itertools import permutations
from math import perm

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ie_store.corpus.permutations import draw_selections, unrank

SIZES = st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


@given(SIZES)
def test_unranking_all_numbers_lists_what_itertools_lists(sizes):
    num_names, num_chosen = sizes
    listed = unrank(np.arange(perm(num_names, num_chosen)), num_names, num_chosen)
    assert [tuple(row) for row in listed.tolist()] == list(permutations(range(num_names), num_chosen))


@given(SIZES, st.integers(0, 2**32), st.data())
def test_a_draw_is_a_subset_without_repeats_and_follows_its_seed(sizes, seed, data):
    num_names, num_chosen = sizes
    num_rows = data.draw(st.integers(1, perm(num_names, num_chosen)))
    ranks, chosen = draw_selections(num_names, num_chosen, num_rows, seed)
    listed = list(permutations(range(num_names), num_chosen))
    assert [tuple(row) for row in chosen.tolist()] == [listed[rank] for rank in ranks]
    assert len(set(ranks.tolist())) == num_rows
    assert np.array_equal(ranks, draw_selections(num_names, num_chosen, num_rows, seed)[0])


@pytest.mark.parametrize(("num_names", "num_chosen"), [(122, 4), (122, 9), (122, 12), (198, 40)])
def test_huge_populations_are_drawn_from_without_listing(num_names, num_chosen):
    ranks, chosen = draw_selections(num_names, num_chosen, 1000, seed=3)
    assert len(np.unique(chosen, axis=0)) == 1000
    assert len(np.unique(ranks)) == 1000
    assert chosen.min() >= 0
    assert chosen.max() < num_names
    assert all(len(set(row)) == num_chosen for row in chosen.tolist())
    assert not np.array_equal(chosen, draw_selections(num_names, num_chosen, 1000, seed=4)[1])


@pytest.mark.parametrize("num_chosen", [2, 12])
def test_draws_are_uniform_over_names(num_chosen):
    _, chosen = draw_selections(122, num_chosen, 12_200, seed=0)
    counts = np.array([np.bincount(column, minlength=122) for column in chosen.T])
    assert counts.shape == (num_chosen, 122)
    assert abs(counts - 100).max() < 50  # Poisson with mean 100: five standard deviations
