"""``ie-store profile``: what the layers of a dataset look like, beside what they tell."""

import json
from inspect import Parameter
from typing import Annotated, Any

import typer

from ie_store.errors import InputError
from ie_store.options import ProfileSpec
from ie_store.profiles import PROFILE_NAMES, PROFILES, ProfileMethod, profile_method, profile_option_names

from .from_spec import command, optional_parameters, spec_parameters
from .progress import ProgressBar
from .render import profiles as render

Profiles = Annotated[
    list[str], typer.Option("--profile", help=f"{' or '.join(PROFILE_NAMES)}; may be given several times; all by default")
]


def profile(as_json: bool, defaults: frozenset[str], **options: Any) -> None:
    """Describe layers by their spectrum and their neighbours, into the store. Started again, it goes on where it stopped."""
    spec = ProfileSpec(profiles=_pop_profiles(options, defaults), **options)
    from ie_store.estimate.profile import profile as run
    from ie_store.store.results.show_profiles import show_profiles

    with ProgressBar() as progress:
        run(spec, on_progress=progress)
    shown = show_profiles(spec.store, spec.name)
    if as_json:
        typer.echo(json.dumps(shown))
    else:
        render.profiles(shown)


def _pop_profiles(options: dict[str, Any], defaults: frozenset[str]) -> tuple[ProfileMethod, ...]:
    """The profiles asked for, each with those of the given options that it has.

    Raises:
        InputError: an option that none of them has, and that is no one of the ``defaults``.
    """
    names = list(dict.fromkeys(options.pop("profile")))
    given = {name: value for name in _owners() if (value := options.pop(name)) is not None}
    for option in given:
        if option not in defaults and _owners()[option] not in names:
            flag = option.replace("_", "-")
            raise InputError(f"--{flag} is an option of {_owners()[option]}, not of {', '.join(names)}; leave it out")
    return tuple(
        profile_method(name, **{key: given[key] for key in profile_option_names(name) if key in given}) for name in names
    )


def _owners() -> dict[str, str]:
    """The profile that has each option, by option."""
    return {option: name for name in PROFILE_NAMES for option in profile_option_names(name)}


def register(app: typer.Typer) -> None:
    """Add the command."""
    own = [p for p in spec_parameters(ProfileSpec, arguments=("store", "name")) if p.name != "profiles"]
    chosen = Parameter("profile", Parameter.KEYWORD_ONLY, default=list(PROFILE_NAMES), annotation=Profiles)
    of_methods = [parameter for row in PROFILES for parameter in optional_parameters(row.options, _owners())]
    app.command()(command(profile, "profile", profile.__doc__ or "", [*own, chosen, *of_methods], tells_defaults=True))
