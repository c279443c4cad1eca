"""What users import: exactly what is listed, with the fields of the specs as keyword arguments."""

import inspect
import subprocess
import sys
from dataclasses import MISSING, fields
from typing import get_type_hints

import pytest

import ie_store
from ie_store import calls
from ie_store.options import EstimateSpec, ExtractSpec, ProfileSpec

SPECS = {"extract": ExtractSpec, "estimate": EstimateSpec, "profile": ProfileSpec}
REQUIRED = {"extract": ["store", "model", "corpus"], "estimate": ["store", "name"], "profile": ["store", "name"]}
BY_NAME = {"estimators", "profiles"}
"""Fields that a call takes as names too."""


def test_the_library_lists_exactly_what_is_public():
    assert dir(ie_store) == sorted(ie_store.__all__)
    assert all(callable(getattr(ie_store, name)) for name in dir(ie_store) if name != "plot")
    with pytest.raises(AttributeError, match="no attribute 'open_stroe'"):
        ie_store.open_stroe  # noqa: B018


@pytest.mark.parametrize("name", SPECS)
def test_a_call_takes_the_fields_of_its_spec(name):
    function, spec = getattr(calls, name), SPECS[name]
    parameters = inspect.signature(function).parameters
    named = {item.name: item for item in fields(spec)}
    assert [p for p in parameters if p != "on_progress"] == [*REQUIRED[name], *(f for f in named if f not in REQUIRED[name])]
    hints = get_type_hints(spec)
    for field in (f for f in named if f not in REQUIRED[name] and f not in BY_NAME):
        assert parameters[field].default == named[field].default != MISSING
        assert inspect.signature(function, eval_str=False).parameters[field].annotation == hints[field], field
    for field in BY_NAME & named.keys():
        assert [one.name for one in named[field].default] == list(parameters[field].default)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["extract", "estimate"])
def test_a_stage_is_called_by_the_name_of_its_package(name):
    code = (
        f"import inspect, ie_store, ie_store.{name}.plan\nfrom ie_store import {name} as stage\n"
        f"from ie_store.calls import {name}\n"
        f"assert stage is ie_store.{name} and stage.plan is ie_store.{name}.plan\n"
        f"assert inspect.signature(stage) == inspect.signature({name}) and stage.__doc__ == {name}.__doc__\n"
        f"try:\n    stage('nowhere')\nexcept TypeError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert f"{name}() missing" in done.stdout, done.stderr


def test_every_public_function_says_what_it_takes_gives_and_raises():
    for name in ("estimate", "extract", "mutual_information", "open_estimates", "open_store", "profile", "write_derived"):
        text = inspect.getdoc(getattr(ie_store, name))
        assert all(f"\n{part}:" in text for part in ("Args", "Raises")), name
