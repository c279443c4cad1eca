"""``ie-store show``: every estimate of a dataset, or of two side by side; chosen, sorted, as table, JSON or CSV."""

import csv
import json
import sys
from typing import Annotated

import typer

from ie_store.errors import InputError
from ie_store.estimators import NAMES
from ie_store.printable import printable

from .render.against import against as render_against
from .render.estimates import estimates as render_estimates
from .render.own_variables import own_variables as render_own_variables
from .store import Name, Store

SELECTION = "0,9-12,last"


def show(
    store: Store,
    name: Name,
    against: Annotated[
        str,
        typer.Option("--against", metavar="MODEL/CORPUS", help="another dataset of the same corpus: both, and their difference"),
    ] = "",
    estimator: Annotated[
        list[str] | None,
        typer.Option("--estimator", help=f"only {', '.join(NAMES[:-1])} or {NAMES[-1]}; may be given several times"),
    ] = None,
    block: Annotated[str, typer.Option("--block", help=f"only these blocks, such as {SELECTION}")] = "all",
    position: Annotated[str, typer.Option("--position", help=f"only these positions, such as {SELECTION}")] = "all",
    sort: Annotated[
        str, typer.Option("--sort", metavar="ESTIMATOR", help="lines by the falling macro value of this estimator")
    ] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="every line of the table, and the emergence of each estimator")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object; its names say the unit")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="print a line for each estimate; the headings say the unit")] = False,
) -> None:
    """Show every estimate of a dataset beside its exact ceiling, in bits; or two datasets of one corpus side by side."""
    from ie_store.store.results.against import show_against
    from ie_store.store.results.chosen import as_rows, chosen
    from ie_store.store.results.show import show_results

    if as_json and as_csv:
        raise InputError("--json and --csv were both given; choose one")
    whole = show_against(store, name, against) if against else show_results(store, name)
    shown = chosen(whole, estimator or (), block, position, sort)
    if as_json:
        typer.echo(json.dumps(shown))
    elif as_csv:
        headings, rows = as_rows(shown["estimates"])
        write = csv.writer(sys.stdout, lineterminator="\n").writerow
        write(headings)
        for row in rows:
            write([printable(value) if isinstance(value, str) else value for value in row])
    elif against:
        render_against(shown, everything, bool(sort))
    else:
        if shown["estimates"]:
            render_estimates(shown, everything, bool(sort))
        else:
            typer.echo(printable(f"{name} has no estimates yet; make some with: ie-store estimate {store} {name}"))
        render_own_variables(shown["derived"], store, name)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(show)
