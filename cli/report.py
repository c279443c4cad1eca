"""``ie-store report``: what was estimated, as one HTML file."""

from typing import Annotated

import typer

from ie_store.printable import printable

from .render.text import size
from .store import Store


def report(
    store: Store,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL/CORPUS", help="datasets, side by side; all that have estimates by default", show_default=False
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="the HTML file; one that is there is replaced")
    ] = "report.html",
) -> None:
    """Write what was estimated as one HTML file: sentences, pictures and their tables; it opens without network."""
    from ie_store.report.run import report as run

    target = run(store, names or (), output)
    typer.echo(printable(f"{target.resolve()} ({size(target.stat().st_size)})"))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)
