"""Options of the cache, and `yocc cache`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from yocc.cli.options import common, path_argument
from yocc.cli.terminal import Settings, show_json, show_table, warn
from yocc.errors import OutputError

if TYPE_CHECKING:
    from yocc.compiler.cache.store import Cache

_OFF = Path("off")
"""In place of a folder: no cache."""
_place_options = (
    click.option("--cache-limit", default="2GB", envvar="YOCC_CACHE_LIMIT", show_default=True, metavar="SIZE",
                 help="Size limit of the cache; $YOCC_CACHE_LIMIT. The least recently used results are removed first."),
    click.option("--cache", "cache_folder", type=path_argument, envvar="YOCC_CACHE", metavar="DIR",
                 help="Folder of the cache; $YOCC_CACHE, `off` disables it [default: ~/.cache/yocc]."),
)  # fmt: skip


def place_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say where the cache is."""
    for option in _place_options:
        command = option(command)
    return command


def chosen_cache(folder: Path | None, limit: str, *, off: bool) -> Cache | None:
    """The cache the running command is to use.

    Raises:
        OptionError: the limit is no size.
        OutputError: the folder the command line names cannot be written; another one only costs a warning.
    """
    from yocc.compiler.cache.keys import open_cache

    source = click.get_current_context().get_parameter_source
    named = source("cache_folder") is ParameterSource.COMMANDLINE
    if folder == _OFF or (off and not (named and source("no_cache") is not ParameterSource.COMMANDLINE)):
        return None
    try:
        cache = open_cache(folder, limit)
        cache.prepare()
    except OutputError as error:
        if named:
            raise
        warn(f"Nothing is cached. {error}")
        return None
    return cache


def _own(folder: Path | None) -> Path | None:
    """The folder to look after: the user's own where caching is off for now."""
    return None if folder == _OFF else folder


@click.group()
def cache() -> None:
    """Look after the results that are kept.

    \b
    Examples:
      yocc cache info
      yocc cache clear
      yocc cache path
    """


@cache.command()
@place_options
@common
@click.pass_obj
def info(settings: Settings, cache_folder: Path | None, cache_limit: str) -> None:
    """Tell where the cache is and what it holds."""
    from yocc.compiler.cache.keys import open_cache
    from yocc.report.report import plain

    facts = open_cache(_own(cache_folder), cache_limit).facts()
    if settings.as_json:
        show_json(plain(facts))
        return
    rows = [
        ["folder", str(facts.folder)],
        ["results", str(facts.entries)],
        ["size", f"{facts.bytes / 1e6:.1f} MB"],
        ["limit", f"{facts.limit / 1e6:.1f} MB"],
    ]
    show_table("", ["", ""], rows)


@cache.command()
@place_options
@common
@click.pass_obj
def clear(settings: Settings, cache_folder: Path | None, cache_limit: str) -> None:
    """Remove all results from the cache, and nothing else."""
    from yocc.compiler.cache.keys import open_cache
    from yocc.report.report import plain

    removed = open_cache(_own(cache_folder), cache_limit).clear()
    if settings.as_json:
        show_json(plain(removed))
        return
    click.echo(f"{removed.entries} results removed, {removed.bytes / 1e6:.1f} MB")


@cache.command()
@place_options
@common
@click.pass_obj
def path(settings: Settings, cache_folder: Path | None, cache_limit: str) -> None:
    """Print the folder of the cache."""
    from yocc.compiler.cache.keys import open_cache

    folder = str(open_cache(_own(cache_folder), cache_limit).folder)
    show_json({"folder": folder}) if settings.as_json else click.echo(folder)
