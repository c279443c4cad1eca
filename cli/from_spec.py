"""A command whose options are the fields of a spec: one source for the library, the options and their help."""

from collections.abc import Callable
from dataclasses import Field, fields
from inspect import Parameter, Signature
from typing import Annotated, Any, get_type_hints

import typer

from ie_store.errors import InputError

Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of a table")]

METAVARS = {"name": "MODEL/CORPUS"}
"""How the help calls an argument, where that is not the field's name."""

RENAMED = {"name": "--as"}
"""Field names whose option is called otherwise."""


def spec_parameters(spec_type: type, arguments: tuple[str, ...], required: tuple[str, ...] = ()) -> list[Parameter]:
    """Typer parameters of a spec's fields: ``arguments`` are positional, ``required`` options have no default."""
    hints = get_type_hints(spec_type)
    return [
        _parameter(item, hints[item.name], is_argument=item.name in arguments, is_required=item.name in required)
        for item in fields(spec_type)
    ]


def optional_parameters(spec_type: type, prefixes: dict[str, str]) -> list[Parameter]:
    """Typer parameters of a spec's fields, None where they are not given; ``prefixes`` stand before their help."""
    hints = get_type_hints(spec_type)
    return [_optional(item, hints[item.name], prefixes[item.name]) for item in fields(spec_type)]


def command(
    call: Callable[..., None], name: str, help_text: str, parameters: list[Parameter], *, tells_defaults: bool = False
) -> Callable[..., None]:
    """A function for typer that takes ``parameters`` and ``--json`` and passes them to ``call`` by keyword.

    With ``tells_defaults`` also, as ``defaults``, the names of those that the environment gave.
    """
    parameters = [
        Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context),
        *parameters,
        Parameter("as_json", Parameter.KEYWORD_ONLY, default=False, annotation=Json),
    ]

    def run(*, context: typer.Context, **values: Any) -> None:
        if tells_defaults:
            values["defaults"] = frozenset(filter(lambda name: _is_of_environment(context, name), values))
        call(**values)

    run.__name__ = name
    run.__doc__ = help_text
    vars(run)["__signature__"] = Signature(parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _is_of_environment(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "ENVIRONMENT"


def variable_of(name: str) -> str:
    """The environment variable that gives an option its default."""
    return f"IE_STORE_{name.upper()}"


def _parameter(item: "Field[Any]", hint: Any, *, is_argument: bool, is_required: bool) -> Parameter:
    text = item.metadata.get("help", "")
    default = Parameter.empty if is_argument or is_required else item.default
    if is_argument:
        metavar = METAVARS.get(item.name, item.name.upper())
        return Parameter(
            item.name, Parameter.KEYWORD_ONLY, annotation=Annotated[hint, typer.Argument(help=text, metavar=metavar)]
        )
    flag = RENAMED.get(item.name, "--" + item.name.replace("_", "-"))
    option = typer.Option(flag, help=text, envvar=variable_of(item.name), show_envvar=False)
    return Parameter(item.name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hint, option])


def _optional(item: "Field[Any]", hint: Any, prefix: str) -> Parameter:
    is_list = hint == tuple[float, ...]
    default: Any = item.default
    shown = ",".join(f"{value:g}" for value in default) if is_list else str(default)
    option = typer.Option(
        "--" + item.name.replace("_", "-"),
        help=f"{prefix}: {item.metadata.get('help', '')}",
        show_default=shown,
        envvar=variable_of(item.name),
        show_envvar=False,
        parser=_parse_floats if is_list else None,
        metavar="X,Y,..." if is_list else None,
    )
    kind = Any if is_list else hint | None
    return Parameter(item.name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])


def _parse_floats(text: Any) -> tuple[float, ...]:
    if isinstance(text, tuple):
        return text
    try:
        return tuple(float(part) for part in str(text).split(","))
    except ValueError:
        raise InputError(f"{text!r} is not a list of numbers; write for example 1,2,4") from None
