"""Texts as bytes and spans, against Python's own strings."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ie_store.texts import Texts, make_texts, shared_texts, texts_digest, texts_fault

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(st.lists(TEXT))
def test_what_is_kept_is_read(texts):
    kept = make_texts(texts)
    assert [kept[number] for number in range(len(kept))] == texts
    assert kept.data.tobytes() == "".join(texts).encode()
    assert texts_fault(kept, len(texts)) is None


@given(st.lists(TEXT, min_size=1), st.data())
def test_rows_share_their_texts(texts, data):
    numbers = np.array(data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1)))
    kept = shared_texts(texts, numbers)
    assert kept.at(np.arange(len(numbers))).tolist() == [texts[number] for number in numbers]
    assert len(kept.data) == sum(len(texts[number].encode()) for number in set(numbers.tolist()))
    grid = np.arange(len(numbers)).reshape(-1, 1)
    assert kept.at(grid).tolist() == [[texts[number]] for number in numbers]


def test_what_utf8_does_not_have_is_marked():
    assert make_texts(["a\ud800b"])[0] == "a?b"


def test_spans_outside_the_bytes_are_found():
    kept = make_texts(["ab", "c"])
    for span in ([[0, 2], [2, 4]], [[-1, 2], [2, 3]], [[2, 0], [2, 3]]):
        assert "spans that do not lie in its 3 bytes" in texts_fault(Texts(data=kept.data, span=np.array(span)), 2)
    assert "where there are 3 texts" in texts_fault(kept, 3)


def test_the_digest_tells_corpus_name_and_values_apart():
    one, other = make_texts(["ab", "c"]), make_texts(["a", "bc"])
    found = {texts_digest(*arguments) for arguments in (("f", "n", one), ("g", "n", one), ("f", "m", one), ("f", "n", other))}
    assert len(found) == 4
