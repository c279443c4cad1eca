"""``ie-store estimate``, ``show`` and ``check``: stage two."""

import json
from dataclasses import asdict, fields
from inspect import Parameter
from typing import Annotated, Any

import typer

from ie_store.errors import FlaggedError
from ie_store.options import CheckSpec, EstimateSpec, EstimatorSpec, field_help

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
    spec = EstimateSpec(estimators=_pop_estimators(options), **options)
    from ie_store.estimate.run import estimate as run

    try:
        with ProgressBar() as progress:
            run(spec, on_progress=progress)
    except FlaggedError:
        show(spec.store, spec.name, as_json)
        raise
    show(spec.store, spec.name, as_json)


def check(as_json: bool, **options: Any) -> None:
    """Test whether estimators can be believed on a dataset: permutation null, learning curve, seeds, self-consistency."""
    seed = options["seed"]
    spec = CheckSpec(estimators=_pop_estimators(options), seed=seed, **options)
    from ie_store.estimate.check import check as run

    with ProgressBar() as progress:
        verdicts = run(spec, on_progress=progress)
    if as_json:
        typer.echo(json.dumps({"name": spec.name, "verdicts": [asdict(verdict) for verdict in verdicts]}))
    else:
        render.verdicts(verdicts)


def _pop_estimators(options: dict[str, Any]) -> tuple[EstimatorSpec, ...]:
    names = dict.fromkeys(options.pop("estimator"))
    shared = {item.name: options.pop(item.name) for item in fields(EstimatorSpec) if item.name != "name"}
    return tuple(EstimatorSpec(name=name, **shared) for name in names)


def show(
    store: Store,
    name: Name,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object; its names say the unit")] = False,
) -> None:
    """Show every estimate of a dataset beside its exact ceiling, in bits."""
    from ie_store.store.results import show_results

    shown = show_results(store, name)
    if as_json:
        typer.echo(json.dumps(shown))
    else:
        render.estimates(shown)


def _parameters(spec_type: type) -> list[Parameter]:
    """Options of a stage-two spec, with ``--estimator`` and the estimators' own options in place of ``estimators``."""
    chosen = Parameter("estimator", Parameter.KEYWORD_ONLY, default=["mine"], annotation=Estimators)
    shared = [p for p in spec_parameters(EstimatorSpec, arguments=()) if p.name != "name"]
    own = [p for p in spec_parameters(spec_type, arguments=("store", "name")) if p.name != "estimators"]
    names = {p.name for p in own}
    return [*own, chosen, *(p for p in shared if p.name not in names)]


def register(app: typer.Typer) -> None:
    """Add the commands of stage two."""
    app.command()(command(estimate, "estimate", estimate.__doc__ or "", _parameters(EstimateSpec)))
    app.command()(show)
    app.command()(command(check, "check", check.__doc__ or "", _parameters(CheckSpec)))
