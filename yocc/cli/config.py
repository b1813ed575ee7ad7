"""Options from a configuration file: it gives what the command line leaves out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from yocc.cli.config_file import Config, find_config, read_config
from yocc.cli.options import Numbers, path_argument
from yocc.cli.terminal import Settings
from yocc.errors import OptionError

CONFIGURED = ("compile", "check")
"""Commands that one file configures."""
TABLES = ("search",)
"""Commands with a table of their own in it, which goes before what the file says for all."""


def config_option(command: Callable[..., None]) -> Callable[..., None]:
    """The option `--config`, and the file that is found without it."""
    return click.option(
        "--config", type=path_argument, is_eager=True, expose_value=False, callback=_configure, metavar="FILE",
        help="Options and gates to start from [default: the nearest yocc.toml, or [tool.yocc] in pyproject.toml].",
    )(command)  # fmt: skip


def _configure(ctx: click.Context, _: click.Parameter, file: Path | None) -> None:
    if ctx.resilient_parsing:  # completion in the shell
        return
    config = find_config(Path.cwd()) if file is None else read_config(file)
    if config is None:
        return
    settings = ctx.find_root().ensure_object(Settings)
    settings.config = os.path.relpath(config.file)
    ctx.default_map = _defaults(ctx, config)


def _defaults(ctx: click.Context, config: Config) -> dict[str, Any]:
    """Values by parameter of the running command; keys of the other commands are checked and left out.

    Raises:
        OptionError: a key is no option, or its value is invalid.
    """
    from yocc.compiler.pipeline.registry import nearest

    group = ctx.find_root().command
    assert isinstance(group, click.Group)
    running = ctx.command.name or ""
    known = {name: _options(group.commands[name]) for name in dict.fromkeys((*CONFIGURED, *TABLES, running))}
    every = {key: option for name in CONFIGURED for key, option in known[name].items()}
    shared = {key: value for key, value in config.values.items() if not (key in TABLES and isinstance(value, Mapping))}
    # What a file says for compilations reaches another command where the option means the same there.
    ours = {
        key: option for key, option in known[running].items() if running in CONFIGURED or _alike(option, every, key)
    }
    tables = [(shared, every, ours)]
    tables += [(config.values[name], known[name], known[name] if name == running else {})
               for name in TABLES if isinstance(config.values.get(name), Mapping)]  # fmt: skip
    values = {}
    for table, allowed, taken in tables:
        for written, value in _flat(table):
            key = written.replace("_", "-")
            if key not in allowed:
                raise OptionError(f"{_where(config)} has an unknown key {written!r}.", nearest(key, allowed))
            made = _value(ctx, allowed[key], value, config, written)
            option = taken.get(key)
            if option is not None and option.name is not None:
                values[option.name] = made
    return values


def _alike(option: click.Option, every: Mapping[str, click.Option], key: str) -> bool:
    """Whether an option is the one of the same key that compilations have."""
    other = every.get(key)
    return other is not None and other.name == option.name and other.help == option.help


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys and values, with those of a table `[input]` by the names of the options: `color` is `input-color`."""
    for written, value in values.items():
        if written == "input" and isinstance(value, Mapping):
            for name, entry in value.items():
                yield name if name == "preprocess" else f"input-{name}", entry
        else:
            yield written, value


def _options(command: click.Command) -> dict[str, click.Option]:
    return {
        flag.removeprefix("--"): option
        for option in command.params
        if isinstance(option, click.Option) and option.expose_value
        for flag in option.opts
        if flag.startswith("--")
    }


def _value(ctx: click.Context, option: click.Option, value: Any, config: Config, written: str) -> Any:
    if option.multiple and isinstance(value, Mapping):
        value = [f"{name}={_text(entry)}" for name, entry in value.items()]
    if option.multiple and not isinstance(value, list):
        raise OptionError(f"{written!r} in {_where(config)} takes a list, not {value!r}.", f"Write [{value!r}].")
    listed = option.multiple or (isinstance(option.type, Numbers) and isinstance(value, list))
    if isinstance(value, bool) is not option.is_flag or (isinstance(value, list | Mapping) and not listed):
        what = "true or false" if option.is_flag else "a value"
        raise OptionError(f"{written!r} in {_where(config)} takes {what}, not {value!r}.")
    if "\0" in _text(value):
        raise OptionError(f"{written!r} in {_where(config)} contains an invalid character.", "Leave it out.")
    if isinstance(option.type, click.Path):
        # Paths are those of the file's folder, wherever the command runs.
        value = os.path.relpath(config.file.parent / str(value))
    try:
        option.process_value(ctx, value)
    except click.BadParameter as error:
        raise OptionError(f"{written!r} in {_where(config)} cannot be {value!r}: {error.message}") from error
    except (TypeError, ValueError, OverflowError, RecursionError) as error:  # dates, times and lists in lists
        raise OptionError(f"{written!r} in {_where(config)} cannot be {str(value)[:60]!r}.") from error
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _where(config: Config) -> str:
    return repr(os.path.relpath(config.file))
