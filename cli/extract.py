"""``ie-store extract`` and ``ie-store plan``: stage one."""

import json
from dataclasses import asdict
from typing import Any

import typer

from ie_store.options import ExtractSpec

from . import render
from .from_spec import command, spec_parameters
from .progress import ProgressBar


def extract(as_json: bool, **options: Any) -> None:
    """Run a causal language model over a corpus and store its hidden states. Started again, it goes on where it stopped."""
    spec = ExtractSpec(**options)
    from ie_store.extract.run import extract as run

    with ProgressBar() as progress:
        report = run(spec, on_progress=progress, on_plan=lambda planned: None if as_json else render.plan(planned))
    if as_json:
        typer.echo(json.dumps(asdict(report)))
    else:
        render.extract_report(report)


def plan(as_json: bool, **options: Any) -> None:
    """Print what extract would do: rows, distinct prefixes, bytes, free disk, expected time. Writes nothing."""
    spec = ExtractSpec(**options)
    from ie_store.extract.run import plan_extract

    planned = plan_extract(spec)
    if as_json:
        typer.echo(json.dumps(asdict(planned)))
    else:
        render.plan(planned)


def register(app: typer.Typer) -> None:
    """Add the commands of stage one."""
    parameters = spec_parameters(ExtractSpec, arguments=("store",), required=("model", "corpus"))
    for function in (extract, plan):
        app.command()(command(function, function.__name__, function.__doc__ or "", parameters))
