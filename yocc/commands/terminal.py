"""What the command line shows: errors in one line, progress bars on a terminal, tables."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import click

from yocc.errors import YoccError

INTERNAL_EXIT = 70
"""EX_SOFTWARE of sysexits.h: the fault is ours."""
INTERRUPTED_EXIT = 130
"""128 + SIGINT, as shells count."""


@dataclass
class Settings:
    """What the options common to all commands said.

    Attributes:
        verbose: tracebacks and what passes note.
        as_json: print JSON and nothing else on standard output.
    """

    verbose: bool = False
    as_json: bool = False


class Failure(click.ClickException):
    """An error as the user sees it: one line and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc] # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line on standard error."""
        click.echo(f"Error: {' '.join(self.message.split())}", file=file, err=file is None)


class Commands(click.Group):
    """A command group that turns every exception into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            Failure: instead of any exception of the library.
        """
        settings = ctx.obj = ctx.obj or Settings()
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.exceptions.Abort, Failure):
            raise
        except click.ClickException as error:
            raise Failure(error.format_message(), error.exit_code) from error
        except YoccError as error:
            _trace(settings)
            raise Failure(str(error), error.exit_code) from error
        except KeyboardInterrupt as error:
            _trace(settings)
            raise Failure("Interrupted; nothing was written.", INTERRUPTED_EXIT) from error
        except BrokenPipeError:
            raise
        except Exception as error:
            _trace(settings)
            raise Failure(
                f"{type(error).__name__}: {error} This is a fault of yocc; please report it with the output of the "
                "same command and -v.",
                INTERNAL_EXIT,
            ) from error


class Bars:
    """Progress of long loops: a bar on a terminal, nothing elsewhere; a loop within a loop shows the outer only."""

    def __init__(self) -> None:
        self._busy = False

    def __call__(self, items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        """Yield the items and show how many have been taken."""
        if self._busy or not sys.stderr.isatty():
            yield from items
            return
        from rich.console import Console
        from rich.progress import track

        self._busy = True
        try:
            yield from track(items, label, total, console=Console(stderr=True), transient=True)
        finally:
            self._busy = False


def say(text: str) -> None:
    """A line about the work going on, on standard error."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    """A line nobody should miss, on standard error."""
    # https://no-color.org: set and not empty means no colour, also on a terminal.
    color = False if os.environ.get("NO_COLOR") else None
    click.secho(f"Warning: {text}", err=True, fg="yellow", bold=True, color=color)


def show_json(content: Any) -> None:
    """Print as JSON on standard output."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


def show_tables(tables: Iterable[tuple[str, Sequence[str], Iterable[Sequence[str]]]]) -> None:
    """Print tables, each a title, columns and rows."""
    for title, columns, rows in tables:
        show_table(title, columns, rows)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on standard output, as wide as its content where that is not a terminal.

    A column whose name begins with `#` holds numbers and is aligned right.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.lstrip("#"), justify="right" if column.startswith("#") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table)


def _trace(settings: Settings) -> None:
    if settings.verbose:
        traceback.print_exc()
