"""The ``ie-store`` command: its groups of commands and the one place where errors become exit codes."""

import json
import signal
import sys
from io import TextIOWrapper
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from ie_store.errors import IeStoreError
from ie_store.printable import printable_lines

from . import estimate, extract, profile, report, show, store
from .session import ASKED, asked, options, session

STOPPED = "stopped: what was finished is kept; the same command goes on from there"
UsageError: Any = typer.BadParameter.__mro__[1]
"""A command line that cannot be parsed; typer has click's, or one of its own, and names neither."""


class Terminated(SystemExit):
    """SIGTERM, raised in the main thread as Ctrl-C is; ends the process as a shell expects even where nobody catches it."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class Door(TyperGroup):
    """Turns our errors into a message and an exit code; anything else is a bug and keeps its traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Keep what was asked for: whether errors are to be JSON, and what the log says began."""
        ctx.meta[ASKED] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        as_json = "--json" in asked(ctx)
        try:
            result = super().invoke(ctx)
            session().log("ended: done")
            return result
        except (IeStoreError, UsageError) as error:
            session().log(f"ended: {type(error).__name__}: {error}")
            if isinstance(error, UsageError) and not as_json:
                raise
            _tell(error, as_json)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            session().log("ended: stopped")
            typer.echo(STOPPED, err=True)
            raise typer.Exit(130) from None
        except Terminated:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # `timeout` and others send it twice
            session().log("ended: stopped")
            typer.echo(STOPPED, err=True)
            raise typer.Exit(128 + signal.SIGTERM) from None
        except BrokenPipeError:
            raise typer.Exit(141) from None


def _tell(error: Any, as_json: bool) -> None:
    """Say on standard error what is wrong: as a sentence, or as one JSON object."""
    message = str(error) if isinstance(error, IeStoreError) else error.format_message()
    if as_json:
        found = {"kind": type(error).__name__, "message": message, "exit_code": error.exit_code}
        typer.echo(json.dumps({"error": found}), err=True)
    else:
        typer.echo(f"error: {printable_lines(message)}", err=True)


app = typer.Typer(cls=Door, name="ie-store", no_args_is_help=True, pretty_exceptions_enable=False, callback=options)
for module in (extract, estimate, show, profile, report, store):
    module.register(app)


def _terminate(*_: Any) -> NoReturn:
    raise Terminated


def main() -> None:
    """Entry point of the installed command."""
    signal.signal(signal.SIGTERM, _terminate)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that knows fewer characters than a recipe has
    app()


if __name__ == "__main__":
    main()
