import pytest
from hypothesis import given
from hypothesis import strategies as st

from ie_store.errors import InputError
from ie_store.grid import ceil_div, format_selection, parse_selection, power_of_two_rows, row_range


@given(st.integers(0, 10**12), st.integers(1, 10**6))
def test_ceil_div_is_the_least_that_suffices(numerator, denominator):
    result = ceil_div(numerator, denominator)
    assert result * denominator >= numerator > (result - 1) * denominator


@given(st.integers(1, 10**6), st.integers(1, 5000), st.integers(2, 10**7))
def test_power_of_two_rows_is_the_largest_that_fits_and_is_needed(bytes_per_row, num_rows, limit):
    allowed = [1] + [2**k for k in range(1, 30) if 2**k * bytes_per_row < limit]
    enough = [rows for rows in allowed if rows >= num_rows]
    assert power_of_two_rows(bytes_per_row, num_rows, limit) == (min(enough) if enough else max(allowed))


@given(st.integers(1, 300), st.integers(1, 40))
def test_pieces_cover_every_row_once(total, size):
    pieces = [row_range(index, size, total) for index in range(ceil_div(total, size))]
    assert [row for piece in pieces for row in piece] == list(range(total))
    assert all(len(piece) == size for piece in pieces[:-1])
    assert len(pieces[-1]) > 0


@given(st.integers(1, 30), st.data())
def test_a_selection_names_what_it_lists(size, data):
    index = st.integers(0, size - 1)
    pairs = data.draw(st.lists(st.tuples(index, index).map(sorted), min_size=1, max_size=5))
    negative = data.draw(st.booleans())
    parts = [str(low - size if negative else low) if low == high else f"{low}-{high}" for low, high in pairs]
    expected = sorted({item for low, high in pairs for item in range(low, high + 1)})
    assert parse_selection(" , ".join(parts), size, "layers") == tuple(expected)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("all", (0, 1, 2, 3)), (" all ", (0, 1, 2, 3)), ("last", (3,)), ("0,last", (0, 3)), ("-1", (3,)), ("-3--1", (1, 2, 3)),
     ("1--1", (1, 2, 3)), ("2-2", (2,)), ("3,1,1", (1, 3)), ("last,0-1", (0, 1, 3))],
)  # fmt: skip
def test_selections_by_example(text, chosen):
    assert parse_selection(text, 4, "positions") == chosen


@pytest.mark.parametrize(
    "text", ["", ",", "0,", "x", "1.5", "4", "-5", "0-4", "2-1", "-", "1-", "--1", "1-2-3", "first", "0;1", "all,0", "last-3"]
)
def test_nonsense_selections_are_refused(text):
    with pytest.raises(InputError, match="positions"):
        parse_selection(text, 4, "positions")


@given(st.sets(st.integers(0, 60), min_size=1).map(sorted))
def test_a_selection_is_read_as_it_is_written(numbers):
    assert parse_selection(format_selection(numbers), 61, "blocks") == tuple(numbers)


def test_neighbours_of_a_selection_are_joined():
    assert (format_selection([0, 1, 2, 3, 7, 9, 10]), format_selection([4, 5], ".")) == ("0-3, 7, 9-10", "4-5")
