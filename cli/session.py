"""What holds for a whole run of the command: how much it says, and the file it logs to."""

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from ie_store.errors import InputError
from ie_store.printable import printable_lines

ASKED = "ie_store_cli.asked"


@dataclass(frozen=True, kw_only=True)
class Session:
    """Set once, by the options before the command."""

    quiet: bool = False
    """Show no progress."""
    log_file: Path | None = None

    def log(self, text: str) -> None:
        """Append a line, or a few, with the time."""
        if self.log_file is None:
            return
        try:
            with self.log_file.open("a", encoding="utf-8") as file:
                file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {printable_lines(text)}\n")
        except OSError as error:
            raise InputError(f"log file {self.log_file} cannot be written: {error.strerror or error}; give another") from None


def asked(context: typer.Context) -> list[str]:
    """What was written on the command line, after the name of the program."""
    return list(context.find_root().meta.get(ASKED, []))


def session() -> Session:
    """That of the command that runs."""
    return _session[-1]


_session = [Session()]


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ie-store {version('ie-store')}")
        raise typer.Exit


def options(
    context: typer.Context,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", envvar="IE_STORE_QUIET", show_envvar=False, help="no progress on standard error")
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log-file", metavar="FILE", envvar="IE_STORE_LOG_FILE", show_envvar=False,
            help="append to it, with the time: the command, its progress, and how it ended",
        ),
    ] = None,
    tell_version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:  # fmt: skip
    """Hidden states of language models in Zarr, and the Information Emergence measured from them.

    Options of commands take their defaults from the environment: IE_STORE_DEVICE is that of --device.
    """
    _session[:] = [Session(quiet=quiet)]
    logging = Session(quiet=quiet, log_file=log_file)
    logging.log(f"began: {shlex.join(['ie-store', *asked(context)])}")
    _session[:] = [logging]  # once it is known that the file can be written
