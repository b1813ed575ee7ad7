"""What a user states of how pictures are fed, as it is typed, given in Python or recorded in a report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from yocc.errors import OptionError
from yocc.runtime.data.preprocess import FITS, Fit

Number = float | str
"""A number, or text such as `0.5` or `1/255`."""

OPTIONS = "--preprocess, or --input-color, --input-scale, --input-mean and --input-std"
_COLORS = ("rgb", "bgr", "gray")


@dataclass(frozen=True)
class InputOptions:
    """What is stated of the input: `(pixel * scale - mean) / std` with pixels 0..255; None where nothing is.

    Attributes:
        color: "rgb", "bgr" or "gray", in the order in which the network is fed.
        scale: factor on the pixels.
        mean: one number, or one per channel in that order.
        std: the same; none is 0.
        fit: how a picture of another size becomes the input.
        pad: gray level of padding, 0..255.
        name: of the convention that `base` is.
        base: a convention that decides what the other options leave open.
    """

    color: str | None = None
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    fit: Fit | None = None
    pad: int | None = None
    name: str = ""
    base: InputOptions | None = None

    def __post_init__(self) -> None:
        if self.color is not None and self.color not in _COLORS:
            raise OptionError(f"The input color cannot be {self.color!r}.", f"Use one of {', '.join(_COLORS)}.")
        if self.scale is not None and not (math.isfinite(self.scale) and self.scale > 0):
            raise OptionError(f"The input scale cannot be {self.scale:g}.", "Use a positive number such as 1/255.")
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if numbers is not None and not (numbers and all(map(math.isfinite, numbers))):
                raise OptionError(f"The input {name} cannot be {listed(numbers)}.", "Use finite numbers.")
        if self.std is not None and 0 in self.std:
            raise OptionError("The input std cannot be 0, as it is divided by.", "Use 1 to leave values as they are.")
        if self.fit is not None and self.fit not in FITS:
            raise OptionError(f"The input fit cannot be {self.fit!r}.", f"Use one of {', '.join(FITS)}.")
        if self.pad is not None and not (isinstance(self.pad, int) and 0 <= self.pad <= 255):
            raise OptionError(f"The input pad cannot be {self.pad!r}.", "Use a whole gray level from 0 to 255.")

    @property
    def given(self) -> bool:
        """Whether anything is stated."""
        return self != InputOptions()

    @property
    def own(self) -> InputOptions:
        """The same without the convention behind it."""
        return replace(self, name="", base=None)

    def says(self, *names: str) -> bool:
        """Whether any of these options is stated, the convention left aside."""
        return any(getattr(self, name) is not None for name in names)

    def over(self, other: InputOptions) -> InputOptions:
        """These, and those of `other` where nothing is stated here."""
        if self.base is not None:
            return replace(self, base=self.base.over(other))
        merged = {
            each.name: getattr(other if getattr(self, each.name) is None else self, each.name)
            for each in fields(self)
            if each.name not in ("name", "base")
        }
        return InputOptions(**merged, name=other.name, base=other.base)


def read_input_options(
    color: str | None = None,
    scale: Number | None = None,
    mean: Number | Sequence[Number] | None = None,
    std: Number | Sequence[Number] | None = None,
    fit: Any = None,
    pad: int | None = None,
) -> InputOptions:
    """Read the options as they are typed or given in Python.

    Args:
        color: "rgb", "bgr" or "gray".
        scale: a number, or text such as `1/255`.
        mean: a number, several, or text such as `0.485,0.456,0.406`.
        std: the same.
        fit: "letterbox", "letterbox-top-left", "stretch" or "crop".
        pad: a gray level.

    Raises:
        OptionError: one is no number, not finite or out of range.
    """
    return InputOptions(
        color,
        None if scale is None else _number("scale", scale),
        None if mean is None else _numbers("mean", mean),
        None if std is None else _numbers("std", std),
        fit,
        pad,
    )


def listed(numbers: Sequence[float]) -> str:
    """Numbers as they are typed."""
    return ",".join(f"{number:g}" for number in numbers)


def _numbers(name: str, value: Number | Sequence[Number]) -> tuple[float, ...]:
    if isinstance(value, str):
        return tuple(_number(name, part) for part in value.split(","))
    if isinstance(value, Sequence) or hasattr(value, "__iter__"):
        return tuple(_number(name, part) for part in value)
    return (_number(name, value),)


def _number(name: str, value: Number) -> float:
    try:
        if isinstance(value, str):
            above, slash, below = value.partition("/")
            return float(above) / float(below) if slash else float(above)
        if not isinstance(value, bool):
            return float(value)
    except (TypeError, ValueError, ArithmeticError):
        pass
    raise OptionError(f"The input {name} cannot be {value!r}.", "Use a number, or a fraction such as 1/255.")
