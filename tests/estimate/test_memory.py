"""Memory that is free goes back to the system, and a corpus that was read is not kept twice."""

import numpy as np
from known_store import NAME, random_tokens, write_store

from ie_store.estimate.memory import give_back, held_bytes
from ie_store.estimate.read import open_complete, read_prefixes


def test_what_lies_free_between_what_is_held_is_given_back():
    pieces = [np.ones(2**13) for _ in range(4000)]  # 64 KiB each, from the pool
    kept = pieces[::100]
    del pieces
    before = held_bytes()
    give_back()
    assert held_bytes() < before - 150 * 2**20
    assert len(kept) == 40


def test_the_reader_of_an_index_keeps_no_rows(tmp_path):
    tokens = random_tokens(60)
    reader = open_complete(write_store(tmp_path / "store", tokens), NAME)
    index = read_prefixes(reader)
    assert "_corpus_arrays" not in vars(reader)
    assert len(index.groups) == len(tokens)
    assert (reader.tokens == tokens).all()
