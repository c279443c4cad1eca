"""``ie-store estimate`` and ``ie-store show``: stage two."""

import json
from dataclasses import fields
from inspect import Parameter
from typing import Annotated, Any

import typer

from ie_store.options import EstimateSpec, EstimatorSpec, field_help

from . import render
from .from_spec import command, spec_parameters
from .progress import ProgressBar
from .store import Name, Store

Estimators = Annotated[
    list[str],
    typer.Option("--estimator", help=field_help(EstimatorSpec, "name") + "; may be given several times"),
]


def estimate(as_json: bool, **options: Any) -> None:
    """Estimate mutual information and Information Emergence, into the store. Started again, it goes on where it stopped."""
    names = dict.fromkeys(options.pop("estimator"))
    shared = {item.name: options.pop(item.name) for item in fields(EstimatorSpec) if item.name != "name"}
    spec = EstimateSpec(estimators=tuple(EstimatorSpec(name=name, **shared) for name in names), **options)
    from ie_store.estimate.run import estimate as run

    with ProgressBar() as progress:
        run(spec, on_progress=progress)
    show(spec.store, spec.name, as_json)


def show(
    store: Store, name: Name, as_json: Annotated[bool, typer.Option("--json", help="one JSON object, in nats")] = False
) -> None:
    """Show every estimate of a dataset beside its exact ceiling, in bits."""
    from ie_store.store.results import show_results

    shown = show_results(store, name)
    if as_json:
        typer.echo(json.dumps(shown))
    else:
        render.estimates(shown)


def _estimate_parameters() -> list[Parameter]:
    own = [p for p in spec_parameters(EstimateSpec, arguments=("store", "name")) if p.name != "estimators"]
    chosen = Parameter("estimator", Parameter.KEYWORD_ONLY, default=["mine"], annotation=Estimators)
    shared = [p for p in spec_parameters(EstimatorSpec, arguments=()) if p.name != "name"]
    return [*own, chosen, *shared]


def register(app: typer.Typer) -> None:
    """Add the commands of stage two."""
    app.command()(command(estimate, "estimate", estimate.__doc__ or "", _estimate_parameters()))
    app.command()(show)
