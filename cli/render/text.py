"""Lines, tables and numbers for people: information in bits, sizes in decimal units."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ie_store.printable import printable
from ie_store.specs import NATS_PER_BIT

MOST_FLAGS = 8
WIDTH_OF_FILES = 140
"""Columns of a table that goes to a file or a pipe."""

console = Console(highlight=False, markup=False, emoji=False)
if not console.is_terminal:
    console = Console(highlight=False, markup=False, emoji=False, width=WIDTH_OF_FILES)


Part = str | tuple[str, str]
"""Text, or (text, style)."""


def say(*parts: Part) -> None:
    """Print one line, wrapped by the terminal alone, so that what is in it can be copied."""
    console.print(_assembled(parts), soft_wrap=True)


def tell(*parts: Part) -> None:
    """Print a sentence, broken between words on a terminal."""
    console.print(_assembled(parts), soft_wrap=not console.is_terminal)


def _assembled(parts: tuple[Part, ...]) -> Text:
    shown = [printable(part) if isinstance(part, str) else (printable(part[0]), part[1]) for part in parts]
    return Text.assemble(*shown)


def make_table(title: str | None = None, **options: Any) -> Table:
    """An empty table."""
    return Table(title=None if title is None else Text(printable(title)), title_justify="left", **options)


def light_table(title: str) -> Table:
    """An empty table with one rule below its headings."""
    return make_table(title, box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def add_columns(table: Table, *headings: str, **options: Any) -> None:
    """Columns under ``headings``, shown as they are but for their line breaks."""
    for heading in headings:
        table.add_column(Text("\n".join(map(printable, heading.split("\n")))), **options)


def add_row(table: Table, *cells: str) -> None:
    """One more row, its cells shown as they are."""
    table.add_row(*(Text(printable(cell)) for cell in cells))


def facts(rows: list[tuple[str, str]]) -> None:
    """Two columns: what, and its value."""
    table = make_table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for what, value in rows:
        add_row(table, what, value)
    console.print(table)


def bits(nats: float | None) -> str:
    """Nats as bits with three decimals; a dash where there is no value."""
    return "-" if nats is None or nats != nats else f"{nats / NATS_PER_BIT:.3f}"


def size(num_bytes: float) -> str:
    """Bytes in decimal units: 1.4 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if num_bytes < 1000 or unit == "TB":
            return f"{num_bytes:,.0f} {unit}" if unit == "B" else f"{num_bytes:,.1f} {unit}"
        num_bytes /= 1000
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3.5 min, 2.1 h."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
