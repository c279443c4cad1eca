"""The ``ie-store`` command: its groups of commands and the one place where errors become exit codes."""

import signal
import sys
from io import TextIOWrapper
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from ie_store.errors import IeStoreError
from ie_store.printable import printable_lines

from . import estimate, extract, profile, report, show, store

STOPPED = "stopped: what was finished is kept; the same command goes on from there"


class Terminated(SystemExit):
    """SIGTERM, raised in the main thread as Ctrl-C is; ends the process as a shell expects even where nobody catches it."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class Door(TyperGroup):
    """Turns our errors into a message and an exit code; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except IeStoreError as error:
            typer.echo(f"error: {printable_lines(str(error))}", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo(STOPPED, err=True)
            raise typer.Exit(130) from None
        except Terminated:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # `timeout` and others send it twice
            typer.echo(STOPPED, err=True)
            raise typer.Exit(128 + signal.SIGTERM) from None
        except BrokenPipeError:
            raise typer.Exit(141) from None


app = typer.Typer(
    cls=Door,
    name="ie-store",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Hidden states of language models in Zarr, and the Information Emergence measured from them.",
)
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
