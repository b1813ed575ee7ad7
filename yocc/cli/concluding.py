"""The end of a command that holds a result against gates: tables, files for CI systems, the error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import click

from yocc.cli.options import Publishing
from yocc.cli.publishing import github_lines, publish
from yocc.cli.summary import FIGURE_COLUMNS, GATE_COLUMNS, choices, figures, gate_rows, sources
from yocc.cli.terminal import Settings, say, show_table
from yocc.errors import AlarmError, GateError
from yocc.report.gates.gate import Outcome, violated
from yocc.report.printable import printable

SUMMARY_WIDTH = 80
"""Characters that fit any terminal and any mail."""


def show_summary(content: Mapping[str, Any], model: Path) -> None:
    """What a compilation did, on standard output."""
    click.echo(printable(f"{content['source']['path']} -> {model} for {content['target']}"))
    click.echo(printable(f"passes: {content['pipeline']}"))
    for text in choices(content):
        for line in wrap(text, SUMMARY_WIDTH, subsequent_indent="  ", break_long_words=False):
            click.echo(printable(line))
    show_table("", FIGURE_COLUMNS, [row.cells for row in figures(content)], widest=SUMMARY_WIDTH)
    for kind, text in sources(content):
        for line in wrap(f"{kind}: {text}", SUMMARY_WIDTH, subsequent_indent="  ", break_long_words=False):
            click.echo(printable(line))


def conclude(
    settings: Settings,
    content: Mapping[str, Any],
    outcomes: Sequence[Outcome],
    publishing: Publishing,
    *,
    strict: bool = False,
) -> None:
    """Show what became of the gates and write what CI systems read.

    Raises:
        GateError: a gate fails.
        AlarmError: `strict` is set, and the result is of little use.
        OutputError: a file cannot be written.
    """
    broken = violated(outcomes)
    if outcomes and (broken or not settings.quiet):
        aside = settings.as_json or settings.quiet
        show_table("", GATE_COLUMNS, gate_rows(outcomes), widest=SUMMARY_WIDTH, error=aside)
    for line in github_lines(content["warnings"], outcomes):
        say(line)
    publish(content, outcomes, publishing)
    if broken:
        raise GateError(broken)
    alarms = content.get("alarms")  # reports of earlier schemas have none
    if strict and alarms:
        raise AlarmError(alarms[0], "Without --strict this is a warning.")
