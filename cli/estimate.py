"""``ie-store estimate`` and ``check``: stage two."""

import json
from dataclasses import asdict
from inspect import Parameter
from math import isfinite
from typing import Annotated, Any

import typer

from ie_store.errors import InputError
from ie_store.estimators import (
    DEFAULT,
    DEFAULTS,
    ESTIMATORS,
    NAMES,
    EstimatorSpec,
    estimator_row,
    estimator_spec,
    option_names,
)  # fmt: skip
from ie_store.options import CheckSpec, EstimateSpec

from .from_spec import command, optional_parameters, spec_parameters
from .progress import ProgressBar
from .render import estimate_report as render_report
from .render.checks import verdicts as render_verdicts
from .show import show

Estimators = Annotated[
    list[str],
    typer.Option("--estimator", help=f"{', '.join(NAMES[:-1])} or {NAMES[-1]}; may be given several times"),
]

Plan = Annotated[
    bool,
    typer.Option("--plan", help="write nothing; print what is left to do, and a forecast of time and memory from a short trial"),
]


def estimate(as_json: bool, plan: bool, defaults: frozenset[str], **options: Any) -> None:
    """Estimate mutual information and Information Emergence, into the store. Started again, it goes on where it stopped."""
    spec = EstimateSpec(estimators=_pop_estimators(options, defaults), **options)
    from ie_store.estimate.run import plan_estimate, run_estimate

    if plan:
        planned, forecast = plan_estimate(spec)
        if as_json:
            typer.echo(json.dumps({**planned.as_json(), "forecast": asdict(forecast)}))
        else:
            render_report.plan(planned, forecast)
        return
    with ProgressBar() as progress:
        report = run_estimate(spec, on_progress=progress)
    if as_json:
        from ie_store.store.results.show import show_results

        typer.echo(json.dumps({**show_results(spec.store, spec.name), "run": report.as_json()}))
    else:
        show(spec.store, spec.name)
    if report.forecast is not None and not as_json:
        render_report.against_forecast(report, report.forecast)
    if not report.complete:
        typer.echo(render_report.time_is_up(report, spec.time_limit), err=True)
    if spec.strict:
        report.require_unflagged()


def check(as_json: bool, defaults: frozenset[str], **options: Any) -> None:
    """Test whether estimators can be believed on a dataset: permutation null, learning curve, seeds, self-consistency."""
    spec = CheckSpec(estimators=_pop_estimators(options, defaults, options["seed"]), **options)
    from ie_store.estimate.check import check as run

    with ProgressBar() as progress:
        verdicts = run(spec, on_progress=progress)
    if as_json:
        typer.echo(
            json.dumps({"name": spec.name, "verdicts": finite([asdict(verdict) for verdict in verdicts])}, allow_nan=False)
        )
    else:
        render_verdicts(verdicts)


def finite(value: Any) -> Any:
    """JSON values with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _pop_estimators(options: dict[str, Any], defaults: frozenset[str], seed: int | None = None) -> tuple[EstimatorSpec[Any], ...]:
    """The estimators asked for, each with those of the given options that it has, and with ``seed`` where it has one.

    Raises:
        InputError: an option that none of them has, and that is no one of the ``defaults``.
    """
    names = list(dict.fromkeys(options.pop("estimator")))
    own = [name for name in _owners() if seed is None or name != "seed"]
    given = {name: value for name in own if (value := options.pop(name, None)) is not None}
    for option in given:
        if option not in defaults and not set(names) & set(_owners()[option]):
            flag, owners = option.replace("_", "-"), ", ".join(_owners()[option])
            raise InputError(f"--{flag} is an option of {owners}, not of {', '.join(names)}; leave it out or add --estimator")
    given |= {} if seed is None else {"seed": seed}
    return tuple(estimator_spec(name, **{key: given[key] for key in option_names(name) if key in given}) for name in names)


def _owners() -> dict[str, list[str]]:
    """Estimators that have each option, by option."""
    found: dict[str, list[str]] = {}
    for name in NAMES:
        for option in option_names(name):
            found.setdefault(option, []).append(name)
    return found


def _parameters(spec_type: type, default: tuple[str, ...]) -> list[Parameter]:
    """Options of a stage-two spec, with ``--estimator`` and the estimators' own options in place of ``estimators``."""
    chosen = Parameter("estimator", Parameter.KEYWORD_ONLY, default=list(default), annotation=Estimators)
    shared = _estimator_parameters()
    own = [p for p in spec_parameters(spec_type, arguments=("store", "name")) if p.name != "estimators"]
    names = {p.name for p in own}
    return [*own, chosen, *(p for p in shared if p.name not in names)]


def _estimator_parameters() -> list[Parameter]:
    """Every option that any estimator has, None where it is not given; its help names those that have it."""
    prefixes = {option: _named(option, names) for option, names in _owners().items()}
    found: dict[str, Parameter] = {}
    for options in dict.fromkeys(row.options for row in ESTIMATORS):
        for parameter in optional_parameters(options, prefixes):
            found.setdefault(parameter.name, parameter)
    return list(found.values())


def _named(option: str, names: list[str]) -> str:
    """Names of estimators, each with its default where that is not the first one's."""
    defaults = {name: getattr(estimator_row(name).options(), option) for name in names}
    return ", ".join(name if defaults[name] == defaults[names[0]] else f"{name} (default {defaults[name]})" for name in names)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    planned = Parameter("plan", Parameter.KEYWORD_ONLY, default=False, annotation=Plan)
    app.command()(
        command(
            estimate, "estimate", estimate.__doc__ or "", [*_parameters(EstimateSpec, DEFAULTS), planned], tells_defaults=True
        )
    )
    app.command()(command(check, "check", check.__doc__ or "", _parameters(CheckSpec, (DEFAULT,)), tells_defaults=True))
