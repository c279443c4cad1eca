"""The ``ie-store`` command: its groups of commands and the one place where errors become exit codes."""

from typing import Any

import typer
from typer.core import TyperGroup

from ie_store.errors import IeStoreError

from . import estimate, extract, store


class Door(TyperGroup):
    """Turns our errors into a message and an exit code; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except IeStoreError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("stopped: what was finished is kept; the same command goes on from there", err=True)
            raise typer.Exit(130) from None
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
for module in (extract, estimate, store):
    module.register(app)


def main() -> None:
    """Entry point of the installed command."""
    app()


if __name__ == "__main__":
    main()
