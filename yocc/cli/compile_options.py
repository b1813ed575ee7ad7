"""Options of the command line, made from the fields of `CompileOptions`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin

import click
from click.core import ParameterSource

from yocc.cli.options import Numbers, pairs, path_argument, shapes
from yocc.options import OptionField, field_of, option_fields

_PICTURES = ("preprocess", "input_color", "input_scale", "input_mean", "input_std", "input_fit", "input_pad")
_CALLBACKS = {Mapping[str, str]: pairs("NAME=VALUE"), Mapping[str, tuple[int, ...]]: shapes}
"""What reads each of several values of the form NAME=VALUE, by the type of the field."""


def compile_options(command: Callable[..., None]) -> Callable[..., None]:
    """Every option of a compilation."""
    return compile_options_but()(command)


def compile_options_but(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Every option of a compilation but some, for another command that says these in its own words."""

    def added(command: Callable[..., None]) -> Callable[..., None]:
        for each in reversed([each for each in option_fields() if each.name not in names]):
            command = _option(each)(command)
        return command

    return added


def option_of(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """One option of a compilation, for another command that takes it too."""
    return _option(field_of(name))


def picture_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say how pictures become the network's input."""
    for name in _PICTURES[::-1]:
        command = option_of(name)(command)
    return command


def stated_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same, which arrive as one `stated`."""

    @functools.wraps(command)
    def bundled(*given: Any, **values: Any) -> None:
        from yocc.models.families.conventions import stated_input

        said = {name: values.pop(name) for name in _PICTURES}
        command(*given, stated=stated_input(said), **values)

    return picture_options(bundled)


def without_outvoted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the running command; those of the configuration file give way to options that exclude them."""
    source = click.get_current_context().get_parameter_source
    dropped = set()
    for each in option_fields():
        for other in each.option.excludes:
            for ours, theirs in ((each.name, other), (other, each.name)):
                if source(ours) is ParameterSource.COMMANDLINE and source(theirs) is ParameterSource.DEFAULT_MAP:
                    dropped.add(theirs)
    return {name: value for name, value in values.items() if name not in dropped}


def _option(each: OptionField) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """One option; what it does without being given stands in its help."""
    said, text = each.option, each.option.help
    flags, kind = [*said.aliases, each.flag], _kind(each)
    more: dict[str, Any] = {}
    if kind is bool:
        flags = [*said.aliases, f"{each.flag}/--no-{each.flag.removeprefix('--')}"]
        text += f"  [default: {'on' if each.default else 'off'}]"
    elif said.otherwise:
        text = f"{text.removesuffix('.')} [default: {said.otherwise}]."
    elif each.default is not None and not each.many:
        more["show_default"] = True
    if said.metavar:
        more["metavar"] = said.metavar
    if each.many:
        more |= {"multiple": True, "callback": _CALLBACKS.get(each.kind)}
    else:
        more["default"] = each.default
    return click.option(*flags, each.name, type=kind, help=text, **more)


def _kind(each: OptionField) -> Any:
    """The type click reads one value as."""
    if each.is_path:
        return path_argument
    if each.many:
        return str
    if {float, str} <= set(get_args(each.kind)):
        return Numbers()
    several = get_origin(each.kind) is not Literal and get_args(each.kind)
    choices = [kind for kind in several or (each.kind,) if kind is not type(None)]
    if get_origin(choices[0]) is Literal:
        return click.Choice(get_args(choices[0]))
    if choices[0] is int:
        return click.IntRange(each.option.minimum, each.option.maximum)
    return choices[0]


gate_option, shape_option, target_option, target_options, threads_option = map(
    option_of, ("gates", "input_shapes", "target", "options", "threads")
)
