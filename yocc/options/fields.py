"""All options as a list, from the fields of the groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from yocc.errors import OptionError
from yocc.options.groups import CompressionRecipe, DataOptions, MeasureOptions, OutputOptions, TargetOptions
from yocc.options.option import Option

GROUPS: Mapping[str, Any] = {
    "recipe": CompressionRecipe,
    "target": TargetOptions,
    "data": DataOptions,
    "measure": MeasureOptions,
    "output": OutputOptions,
}
"""The groups by their names in `CompileOptions`."""


@dataclass(frozen=True)
class OptionField:
    """A field of one of the groups.

    Attributes:
        name: of the field.
        group: name of its group in `CompileOptions`.
        kind: its type, resolved.
        default: its default.
        option: what is said of it.
    """

    name: str
    group: str
    kind: Any
    default: Any
    option: Option

    @property
    def flag(self) -> str:
        """Its first flag on the command line, dashes included."""
        return "--" + (self.option.flag or self.name.replace("_", "-"))

    @property
    def many(self) -> bool:
        """Whether it may be given several times."""
        return get_origin(self.kind) in (tuple, Mapping)

    @property
    def is_path(self) -> bool:
        """Whether its value, or each of them, is a path."""
        return Path in (self.kind, *get_args(self.kind))

    def frozen(self, value: Any) -> Any:
        """A value as the field keeps it: text as a path where it names a file, several as a tuple or a dictionary.

        None stands for the default of what may be given several times; one text, for a list of it alone.

        Raises:
            OptionError: the value is of another type.
        """
        if not self._takes(value):
            raise OptionError(f"{self.flag} ({self.name}) cannot be {value!r}.", f"Give {self._wanted}.")
        if not self.many:
            if isinstance(value, list):
                return tuple(value)
            return Path(value) if self.is_path and isinstance(value, str) else value
        if value is None:
            return self.default
        if isinstance(value, Mapping):
            return dict(value)
        values = (value,) if isinstance(value, str | Path) else value
        return tuple(Path(each) if self.is_path else each for each in values)

    def _takes(self, value: Any) -> bool:
        """Whether a value is of the field's type, as far as numbers, text, paths and collections go."""
        if value is None:
            return True
        if get_origin(self.kind) is Mapping:
            return isinstance(value, Mapping)
        if self.many:
            return isinstance(value, str | Path) or (isinstance(value, Iterable) and not isinstance(value, Mapping))
        kinds = get_args(self.kind) if get_origin(self.kind) in (Union, UnionType) else (self.kind,)
        return any(_is_of(value, kind) for kind in kinds if kind is not type(None))

    @property
    def _wanted(self) -> str:
        """The field's type in words."""
        if get_origin(self.kind) is Mapping:
            example = "{'images': (1, 3, 640, 640)}" if "tuple" in str(self.kind) else "{'name': 'value'}"
            return f"a dictionary such as {example}"
        if self.many:
            return "a list, or one value as text"
        kinds = (("bool", "True or False"), ("float", "a number"), ("int", "a whole number"), ("Path", "a path"))
        return next((words for name, words in kinds if name in str(self.kind)), "text")


def _is_of(value: Any, kind: Any) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real)
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple)
    # Text may also be a number, such as a batch.
    return isinstance(value, str | Path if kind is Path else str | int)


@cache
def option_fields() -> tuple[OptionField, ...]:
    """Every option, in the order of the groups."""
    return tuple(_fields())


def flag_of(name: str) -> str:
    """The flag on the command line of the option with this name, dashes included."""
    return _by_name()[name].flag


def field_of(name: str) -> OptionField:
    """The option with this name."""
    return _by_name()[name]


@cache
def _by_name() -> Mapping[str, OptionField]:
    return {each.name: each for each in option_fields()}


def _fields() -> Iterator[OptionField]:
    for group, kind in GROUPS.items():
        hints = get_type_hints(kind)
        for each in dataclasses.fields(kind):
            make = each.default_factory
            default = each.default if make is dataclasses.MISSING else make()
            yield OptionField(each.name, group, hints[each.name], default, each.metadata["option"])
