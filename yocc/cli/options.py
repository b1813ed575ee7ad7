"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from yocc.cli.terminal import Settings

_DIGITS = 9
"""Of a size of an input."""
_SHOWN = 60
"""Characters of a value in a message."""

path_argument = click.Path(path_type=Path)


def shortened(text: str) -> str:
    """A value as a message shows it."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _set(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def set_it(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        root = ctx.find_root()
        root.obj = root.obj or Settings()
        if value:
            setattr(root.obj, name, True)

    return set_it


def common(command: Callable[..., None]) -> Callable[..., None]:
    """Options every command has."""
    for flags, name, text in (
        (("-v", "--verbose"), "verbose", "Say more, and show where an error comes from."),
        (("-q", "--quiet"), "quiet", "Say nothing but warnings, errors and what was asked for."),
        (("--json",), "as_json", "Print JSON on standard output and nothing else there."),
    ):
        command = click.option(
            *flags, name, is_flag=True, is_eager=True, expose_value=False, callback=_set(name), help=text
        )(command)
    return command


def pairs(kind: str) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], dict[str, str]]:
    """A callback that splits values of the form NAME=VALUE; `kind` is that form as users know it."""

    def split(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
        pairs = {}
        for value in values:
            name, equals, text = value.partition("=")
            if not name or not equals:
                raise click.BadParameter(f"{value!r} is not of the form {kind}.")
            pairs[name] = text
        return pairs

    return split


def shapes(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """A callback that reads values of the form NAME=1,3,640,640."""
    found = {}
    for name, text in pairs("NAME=1,3,640,640")(ctx, parameter, values).items():
        sizes = text.split(",")
        if not all(size.isascii() and size.isdigit() and len(size) <= _DIGITS and int(size) > 0 for size in sizes):
            raise click.BadParameter(f"{shortened(text)!r} is not a shape such as 1,3,640,640.")
        found[name] = tuple(map(int, sizes))
    return found


@dataclass(frozen=True)
class Publishing:
    """What is written for a CI system.

    Attributes:
        junit: file of the gates as JUnit XML, None for none.
        page: file of the figures and gates as Markdown, None for none.
        force: whether they may replace files that yocc did not write.
    """

    junit: Path | None
    page: Path | None
    force: bool


def published(command: Callable[..., None]) -> Callable[..., None]:
    """Options of commands that write what CI systems read; they arrive as one `publishing`."""

    @functools.wraps(command)
    def bundled(*given: Any, junit_file: Path | None, page: Path | None, force: bool, **others: Any) -> None:
        command(*given, publishing=Publishing(junit_file, page, force), **others)

    made: Callable[..., None] = bundled
    for option in (
        click.option("--force", is_flag=True, help="Let --junit and --summary replace files that yocc did not write."),
        click.option("--summary", "page", type=path_argument, metavar="FILE",
                     help="Write the figures and gates as Markdown; appends to $GITHUB_STEP_SUMMARY."),
        click.option("--junit", "junit_file", type=path_argument, metavar="FILE",
                     help="Write the gates as JUnit XML."),
    ):  # fmt: skip
        made = option(made)
    return made


class Numbers(click.types.StringParamType):
    """Numbers or fractions such as 1/255, in a configuration file also a list, which `read_input_options` reads."""

    name = "numbers"

    def convert(self, value: Any, _: click.Parameter | None, __: click.Context | None) -> str:
        """As text."""
        return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


force_option = click.option("--force", is_flag=True, help="Replace files that yocc did not write.")
against_option = click.option(
    "--against", type=path_argument, help="The original model [default: the one a yocc folder was compiled from]."
)
