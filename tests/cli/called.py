"""The command line, called in process."""

import json
from functools import cache

import typer.testing
from ie_store_cli.main import app
from typer.testing import CliRunner, Result

typer.testing._get_command = cache(typer.testing._get_command)  # to build the commands anew takes longer than most of them


def ie_store(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def ie_store_json(*arguments: object) -> dict:
    result = ie_store(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
