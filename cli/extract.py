"""``ie-store extract`` and ``ie-store plan``: stage one."""

import json
from dataclasses import asdict
from typing import Any

import typer

from ie_store.options import ExtractSpec

from .from_spec import command, spec_parameters
from .progress import ProgressBar
from .render import extract as render


def extract(as_json: bool, **options: Any) -> None:
    """Run a causal language model over a corpus and store its hidden states. Started again, it goes on where it stopped."""
    spec = ExtractSpec(**options)
    from ie_store.extract.run import extract as run

    with ProgressBar() as progress:
        report = run(spec, on_progress=progress, on_plan=(lambda *planned: None) if as_json else render.plan)
    if as_json:
        typer.echo(json.dumps(report.as_json()))
    else:
        render.extract_report(report)


def plan(as_json: bool, **options: Any) -> None:
    """Print what extract would do: rows, distinct prefixes, shards, and a forecast of bytes and time. Writes nothing."""
    spec = ExtractSpec(**options)
    from ie_store.extract.run import plan_extract

    planned, forecast = plan_extract(spec)
    if as_json:
        typer.echo(json.dumps({**planned.as_json(), "forecast": asdict(forecast)}))
    else:
        render.plan(planned, forecast)


def register(app: typer.Typer) -> None:
    """Add the commands of stage one."""
    parameters = spec_parameters(ExtractSpec, arguments=("store",), required=("model", "corpus"))
    for function in (extract, plan):
        app.command()(command(function, function.__name__, function.__doc__ or "", parameters))
