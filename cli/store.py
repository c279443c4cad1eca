"""``ie-store ls``, ``info``, ``verify`` and ``rm``: what is in a store."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ie_store.errors import REPAIR, StoreError
from ie_store.printable import printable

from .progress import ProgressBar
from .render import store as render

if TYPE_CHECKING:
    from ie_store.store.catalog import DatasetSummary

Store = Annotated[str, typer.Argument(metavar="STORE", help="the store: a local folder or an s3:// address")]
Name = Annotated[str, typer.Argument(metavar="MODEL/CORPUS", help="dataset inside the store, as 'ie-store ls' prints it")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of a table")]


Order = Literal["name", "written", "size", "sequences"]
Sort = Annotated[Order, typer.Option("--sort", help="by name, or the latest, the largest or the longest first")]
Matching = Annotated[
    str, typer.Option("--matching", metavar="TEXT", help="only those whose name, model, corpus or user has this text in it")
]


def ls(store: Store, sort: Sort = "name", matching: Matching = "", as_json: Json = False) -> None:
    """List the activation datasets of a store."""
    from ie_store.store.catalog import list_datasets

    whole, damaged = list_datasets(store)
    whole = [one for one in whole if any(matching.lower() in part.lower() for part in _texts(one))]
    damaged = [one for one in damaged if matching.lower() in one.name.lower()]
    whole.sort(key=SORTS[sort], reverse=sort != "name")
    if as_json:
        found = {"datasets": [asdict(dataset) for dataset in whole], "damaged": [asdict(dataset) for dataset in damaged]}
        typer.echo(json.dumps({"store": store, **found}))
    else:
        render.datasets(whole, damaged)


def _texts(one: "DatasetSummary") -> tuple[str, ...]:
    return one.name, one.model, one.recipe, one.user or ""


SORTS: "dict[Order, Callable[[DatasetSummary], Any]]" = {
    "name": lambda one: one.name,
    "written": lambda one: one.written or "",
    "size": lambda one: one.disk_bytes,
    "sequences": lambda one: one.num_sequences,
}


def info(store: Store, name: Name, as_json: Json = False) -> None:
    """Show what a dataset was made from, its size, its numerical audit and its estimates."""
    from ie_store.store.catalog import describe_dataset

    description = describe_dataset(store, name)
    if as_json:
        typer.echo(json.dumps(description))
    else:
        render.description(description)


def verify(store: Store, name: Name, as_json: Json = False) -> None:
    """Read every chunk of a dataset and compare every checksum; exit code 2 where anything is wrong."""
    from ie_store.store.verify import verify_dataset

    with ProgressBar() as progress:
        report = verify_dataset(store, name, on_progress=progress)
    if as_json:
        typer.echo(json.dumps(asdict(report)))
    else:
        render.verify_report(report)
    if report.faults:
        raise StoreError(f"{name}: {len(report.faults)} faults; {REPAIR}")


def rm(store: Store, name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False) -> None:
    """Remove a dataset and the estimates computed from it."""
    from ie_store.store.dataset.remove import remove_dataset

    if not yes:
        typer.confirm(printable(f"remove {name} and its estimates from {store}?"), abort=True)
    left = remove_dataset(store, name)
    typer.echo(printable(f"removed {name}"))
    for key in left:
        typer.echo(printable(f"left alone, not of ie-store: {store}/{key}"))


def register(app: typer.Typer) -> None:
    """Add the commands that look at a store."""
    for command in (ls, info, verify, rm):
        app.command()(command)
