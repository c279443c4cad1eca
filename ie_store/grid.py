"""Integer arithmetic of shards, groups and selections. Imports `errors` alone.

A store's sequence axis, rows 0..N-1, is cut into shards of S rows; G neighbouring shards make a group::

    row     0 ........ S ........ 2S ....... 3S .... N
    shard   |    0     |    1     |    2     |   3   |      write unit: one file
    group   |          0          |          1       |      forward unit: rows that may meet in one batch (G = 2)

Both cuts follow from the layout alone, so that a resumed run computes what an uninterrupted one would.
"""

from collections.abc import Sequence

from ie_store.errors import InputError

SHARD_BYTES_LIMIT = 512 * 2**20
"""A shard's raw (unencoded) bytes stay below this."""


def ceil_div(numerator: int, denominator: int) -> int:
    """Smallest integer >= numerator / denominator."""
    return -(-numerator // denominator)


def power_of_two_rows(bytes_per_row: int, num_rows: int, limit: int = SHARD_BYTES_LIMIT) -> int:
    """Largest power of two S with ``S * bytes_per_row < limit``, no larger than needed to hold ``num_rows``; at least 1."""
    rows = 1
    while rows * 2 * bytes_per_row < limit and rows < num_rows:
        rows *= 2
    return rows


def row_range(index: int, size: int, total: int) -> range:
    """Rows of piece ``index`` when ``total`` rows are cut into pieces of ``size``; the last piece may be short."""
    return range(index * size, min((index + 1) * size, total))


def parse_selection(text: str, size: int, what: str) -> tuple[int, ...]:
    """Sorted indices named by ``text``: ``all``, ``last``, ``0,3,7``, ``2-5``, or a mix of the last two.

    Negative numbers count from the end (``-1`` is the last).

    Raises:
        InputError: not a selection, or an index outside 0..size-1.
    """
    chosen: set[int] = set()
    if text.strip() == "all":
        return tuple(range(size))
    for part in text.split(","):
        part = part.strip()
        low_text, dash, high_text = part[1:].partition("-") if part.startswith("-") else part.partition("-")
        low_text = "-" + low_text if part.startswith("-") else low_text
        if part == "last":
            low_text, dash = str(size - 1), ""
        try:
            low = int(low_text)
            high = int(high_text) if dash else low
        except ValueError:
            raise InputError(
                f"{what} {text!r}: {part!r} is neither a number, a range like 2-5, 'last' nor 'all'; "
                f"write for example 'all', 'last' or '0,{size - 1}'"
            ) from None
        low, high = (low + size if low < 0 else low), (high + size if high < 0 else high)
        if not 0 <= low <= high < size:
            raise InputError(f"{what} {text!r}: {part!r} is outside 0..{size - 1}; there are {size} {what}")
        chosen.update(range(low, high + 1))
    return tuple(sorted(chosen))


def format_selection(numbers: Sequence[int], separator: str = ", ") -> str:
    """Rising numbers as `parse_selection` reads them, neighbours joined: ``0-3, 7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return separator.join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
