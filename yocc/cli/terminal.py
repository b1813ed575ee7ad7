"""What the command line shows: errors in one line, progress bars on a terminal, tables."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import click

from yocc.errors import YoccError
from yocc.report.printable import is_harmless, printable

INTERNAL_EXIT = 70
"""EX_SOFTWARE of sysexits.h: the fault is ours."""
INTERRUPTED_EXIT = 130
"""128 + SIGINT, as shells count."""
_SECONDS_BETWEEN_LINES = 10.0
"""Seldom enough for a log, often enough to see that something happens."""
_WIDEST = 200
"""Characters of a table that nobody looks at in a terminal."""


@dataclass
class Settings:
    """What the options common to all commands said.

    Attributes:
        verbose: tracebacks and what passes note.
        as_json: print JSON and nothing else on standard output.
        quiet: warnings, errors and what was asked for only.
        config: the file options were read from, or empty.
    """

    verbose: bool = False
    as_json: bool = False
    quiet: bool = False
    config: str = ""


class Failure(click.ClickException):
    """An error as the user sees it: one line and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc] # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line on standard error."""
        click.echo(f"Error: {printable(' '.join(self.message.split()))}", file=file, err=file is None)


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
    """Progress of long loops: a bar with rate and time left on a terminal, now and then a line elsewhere.

    A loop within a loop shows the outer only.

    Args:
        quiet: show nothing.
        clock: seconds that only grow.
    """

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._silent = quiet
        self._clock = clock

    def __call__(self, items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        """Yield the items and show how many have been taken."""
        if self._silent:
            yield from items
            return
        self._silent = True
        try:
            yield from (self._bar if sys.stderr.isatty() else self._lines)(items, label, total)
        finally:
            self._silent = False

    def _bar(self, items: Iterable[Any], label: str, total: int | None) -> Iterator[Any]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
        )
        started = self._clock()
        with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
            task = shown.add_task(label, total=total, rate="")
            for done, item in enumerate(items, 1):
                yield item
                shown.update(task, completed=done, rate=f"{_rate(done, self._clock() - started):.3g}/s")

    def _lines(self, items: Iterable[Any], label: str, total: int | None) -> Iterator[Any]:
        started = said = self._clock()
        for done, item in enumerate(items, 1):
            yield item
            now = self._clock()
            if now - said < _SECONDS_BETWEEN_LINES:
                continue
            said, rate = now, _rate(done, now - started)
            amount = f"{done} of {total}" if total else str(done)
            left = f", {max(0, total - done) / rate:.0f} s left" if total else ""
            say(f"{label}: {amount}, {rate:.3g}/s{left}")


def say(text: str) -> None:
    """A line about the work going on, on standard error."""
    click.echo(printable(text), err=True)


def announce_config(settings: Settings) -> None:
    """Say that options were read from a file, as they change what the command does."""
    if settings.config and not settings.quiet:
        say(f"Options of {settings.config} are in force.")


def warn(text: str, *, grave: bool = False) -> None:
    """A line nobody should miss, on standard error; in red where the result is of little use."""
    # https://no-color.org: set and not empty means no color, also on a terminal.
    color = False if os.environ.get("NO_COLOR") else None
    click.secho(f"Warning: {printable(text)}", err=True, fg="red" if grave else "yellow", bold=True, color=color)


def show_json(content: Any) -> None:
    """Print as JSON on standard output."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    click.echo("".join(one if is_harmless(one) else json.dumps(one)[1:-1] for one in text))


def show_tables(tables: Iterable[tuple[str, Sequence[str], Iterable[Sequence[str]]]], *, error: bool = False) -> None:
    """Print tables, each a title, columns and rows."""
    for title, columns, rows in tables:
        show_table(title, columns, rows, error=error)


def show_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, widest: int = _WIDEST, error: bool = False
) -> None:
    """Print a table, as wide as its content where that is not a terminal.

    A column whose name begins with `#` holds numbers and is aligned right.

    Args:
        title: above it, may be empty.
        columns: names of the columns.
        rows: cells.
        widest: characters it may take.
        error: print on standard error instead of standard output.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(printable(title)) if title else None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column in columns:
        table.add_column(column.lstrip("#"), justify="right" if column.startswith("#") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(stderr=error)
    console.width = min(widest, console.width) if console.is_terminal else widest
    console.print(table)


def _rate(done: int, seconds: float) -> float:
    return done / max(seconds, 1e-9)


def _trace(settings: Settings) -> None:
    if settings.verbose:
        say(traceback.format_exc().rstrip("\n"))
