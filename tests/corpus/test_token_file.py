import gzip

import numpy as np
import pytest

from ie_store.corpus.make import make_corpus
from ie_store.errors import InputError


def saved(path, array):
    np.save(path, array)
    return f"tokens:{path}"


def test_rows_are_sorted_and_duplicates_stay(tmp_path):
    recipe = saved(tmp_path / "ids.npy", np.array([[3, 1], [0, 2], [3, 1], [0, 1]], dtype=np.uint16))
    corpus = make_corpus(recipe, tokenizer=None, vocab_size=4)
    assert corpus.tokens.tolist() == [[0, 1], [0, 2], [3, 1], [3, 1]]
    assert corpus.source_row.tolist() == [3, 1, 0, 2]
    assert not corpus.spec.complete
    assert make_corpus(f"{recipe}?complete=true", tokenizer=None, vocab_size=4).spec.complete


def test_a_sample_is_never_complete_and_counts_what_it_left(tmp_path):
    recipe = saved(tmp_path / "ids.npy", np.arange(20).reshape(10, 2))
    corpus = make_corpus(f"{recipe}?complete=true&num_sequences=4", tokenizer=None, vocab_size=20)
    assert not corpus.spec.complete
    assert corpus.spec.dropped == (("not drawn into the sample", 6),)
    assert (corpus.tokens[:, 0] // 2).tolist() == corpus.source_row.tolist()
    with pytest.raises(InputError, match="num_sequences is 11 but the corpus has only 10"):
        make_corpus(recipe, tokenizer=None, vocab_size=20, num_sequences=11)


def test_several_files_and_gzip(tmp_path):
    np.save(tmp_path / "b.npy", np.array([[1, 2]]))
    with gzip.open(tmp_path / "a.npy.gz", "wb") as file:
        np.save(file, np.array([[3, 4]]))
    corpus = make_corpus(f"tokens:{tmp_path}/*.npy*", tokenizer=None, vocab_size=9)
    assert corpus.tokens.tolist() == [[1, 2], [3, 4]]
    assert corpus.source_row.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2)), "holds float64; token ids are whole numbers"),
        (np.zeros((2, 2), dtype=bool), "holds bool"),
        (np.array([["a", "b"]]), "holds <U1"),
        (np.zeros(4, dtype=int), r"has shape \(4,\); token ids need two axes"),
        (np.zeros((2, 2, 2), dtype=int), "two axes"),
        (np.zeros((0, 8), dtype=int), "there is no token in it"),
        (np.zeros((8, 0), dtype=int), "there is no token in it"),
        (np.array([[0, 1], [2, -1]]), "token id -1 at position 1 of source row 1"),
        (np.array([[0, 1], [9, 1]]), r"token id 9 at position 0 of source row 1 is outside .* 0\.\.8"),
        (np.array([[2**63 + 5]], dtype=np.uint64), "outside"),
        (np.array([[None, 1]], dtype=object), "not a .npy file of numbers"),
    ],
)
def test_arrays_that_are_no_tokens_are_refused(tmp_path, array, message):
    with pytest.raises(InputError, match=message):
        make_corpus(saved(tmp_path / "ids.npy", array), tokenizer=None, vocab_size=9)


def test_files_that_are_no_arrays_are_refused(tmp_path):
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.savez(tmp_path / "many.npz", a=np.zeros((1, 1), dtype=int))
    np.save(tmp_path / "wide.npy", np.zeros((1, 3), dtype=int))
    np.save(tmp_path / "narrow.npy", np.zeros((1, 2), dtype=int))
    whole = (tmp_path / "wide.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-3])
    for name, message in [
        ("text.npy", "not a .npy"),
        ("empty.npy", "not a .npy"),
        ("cut.npy", "not a .npy"),
        ("many.npz", "several arrays"),
        ("none.npy", "does not exist"),
        ("*.parquet", "matches no file"),
        (".", "is a folder"),
        (f"wide.npy,{tmp_path}/narrow.npy", "different length"),
    ]:
        with pytest.raises(InputError, match=message):
            make_corpus(f"tokens:{tmp_path}/{name}", tokenizer=None, vocab_size=9)
