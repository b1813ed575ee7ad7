"""What is said of one option, and the types that options have."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

Recovery = Literal["none", "statistics", "reconstruct", "distill"]
Schedule = Literal["oneshot", "iterative"]
Moves = Literal["auto", "channels", "ranks", "channels,ranks"]
Activations = Literal["keep", "gelu", "mixed", "hardswish", "relu"]
Sparsity = Literal["2:4"]
Outputs = Literal["decoded", "raw"]
Color = Literal["rgb", "bgr", "gray"]
Fit = Literal["letterbox", "letterbox-top-left", "stretch", "crop"]
Shapes = Mapping[str, tuple[int, ...]]
Number = float | str
"""A number, or text such as `0.5` or `1/255`."""
Numbers = float | str | tuple[float | str, ...]
"""One number, several, or text such as `0.485,0.456,0.406`."""


class Cached(Enum):
    """How an option counts in the cache key."""

    VALUE = "by its value"
    FILES = "by its value and the contents of the files it names"
    PICTURES = "by its value and the contents of the pictures or arrays it names"
    LABELS = "by its value and the contents of the labels it names, or that lie beside the pictures"
    CORES = "by its value, or the number of cores where none is given"
    NOT = "not at all"


@dataclass(frozen=True)
class Option:
    """What is said of a field beside its type and default.

    Attributes:
        help: one or two sentences for people.
        flag: on the command line, without dashes; empty for the field's own name.
        aliases: further flags, dashes included.
        metavar: what stands for the value in help texts; empty for the type's own.
        otherwise: what happens without it, where the default does not say.
        excludes: fields that cannot be given together with this one, each with the reason.
        needs: a field without which this one has no effect, and what to say then.
        minimum: smallest number that is allowed.
        maximum: largest number that is allowed.
        cached: how it counts in the cache key.
    """

    help: str
    flag: str = ""
    aliases: tuple[str, ...] = ()
    metavar: str = ""
    otherwise: str = ""
    excludes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    needs: tuple[str, str] | None = None
    minimum: int | None = None
    maximum: int | None = None
    cached: Cached = Cached.VALUE


def option(default: Any, text: str, **facts: Any) -> Any:
    """A field of a group, from its default and what is said of it."""
    said = {"option": Option(text, **facts)}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=said)
    return field(default=default, metadata=said)
