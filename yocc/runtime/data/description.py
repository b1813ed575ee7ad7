"""What pictures become before a network sees them, and who said so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from yocc.errors import OptionError
from yocc.runtime.data.preprocess import InputSpec, Preprocess, default_preprocess

Origin = Literal["given", "family", "assumed"]
Number = float | str
"""A number, or text such as `0.5` or `1/255`."""

OPTIONS = "--input-color, --input-scale, --input-mean and --input-std"
_COLORS = ("rgb", "bgr", "gray")
_PLACED = {"centered": "aspect ratio kept", "top_left": "aspect ratio kept, at the top left"}
_NAMES = {"rgb": "RGB", "bgr": "BGR", "gray": "gray"}


@dataclass(frozen=True)
class InputOptions:
    """What a user states about the input: `(pixel * scale - mean) / std` with pixels 0..255; None where nothing.

    Attributes:
        color: "rgb", "bgr" or "gray", in the order in which the network is fed.
        scale: factor on the pixels.
        mean: one number, or one per channel in that order.
        std: the same; none is 0.
    """

    color: str | None = None
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.color is not None and self.color not in _COLORS:
            raise OptionError(f"The input color cannot be {self.color!r}.", f"Use one of {', '.join(_COLORS)}.")
        if self.scale is not None and not (math.isfinite(self.scale) and self.scale > 0):
            raise OptionError(f"The input scale cannot be {self.scale:g}.", "Use a positive number such as 1/255.")
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if numbers is not None and not (numbers and all(map(math.isfinite, numbers))):
                raise OptionError(f"The input {name} cannot be {_listed(numbers)}.", "Use finite numbers.")
        if self.std is not None and 0 in self.std:
            raise OptionError("The input std cannot be 0, as it is divided by.", "Use 1 to leave values as they are.")

    @property
    def given(self) -> bool:
        """Whether anything is stated."""
        return self != InputOptions()

    def over(self, other: InputOptions) -> InputOptions:
        """These, and those of `other` where nothing is stated here."""
        return InputOptions(
            *(
                theirs if ours is None else ours
                for ours, theirs in (
                    (self.color, other.color),
                    (self.scale, other.scale),
                    (self.mean, other.mean),
                    (self.std, other.std),
                )
            )  # type: ignore[arg-type] # pairs of one type each
        )


def read_input_options(
    color: str | None = None,
    scale: Number | None = None,
    mean: Number | Sequence[Number] | None = None,
    std: Number | Sequence[Number] | None = None,
) -> InputOptions:
    """Read the options as they are typed or given in Python.

    Args:
        color: "rgb", "bgr" or "gray".
        scale: a number, or text such as `1/255`.
        mean: a number, several, or text such as `0.485,0.456,0.406`.
        std: the same.

    Raises:
        OptionError: one is no number, not finite or out of range.
    """
    return InputOptions(
        color,
        None if scale is None else _number("scale", scale),
        None if mean is None else _numbers("mean", mean),
        None if std is None else _numbers("std", std),
    )


@dataclass(frozen=True)
class InputDescription:
    """How pictures become a network's input.

    Attributes:
        name: of the input.
        preprocess: what is done to them.
        origin: "given" by the user, known of the model's "family", or "assumed".
    """

    name: str
    preprocess: Preprocess
    origin: Origin

    @property
    def text(self) -> str:
        """Color and arithmetic in words."""
        how = self.preprocess
        return f"{_NAMES[how.colors]}, (pixel * {_scale(how.scale)} - {_listed(how.mean)}) / {_listed(how.std)}, " + (
            _PLACED[how.alignment] if how.letterbox else "stretched to the input size"
        )

    @property
    def warning(self) -> str:
        """What to say where it was assumed; empty where it is known."""
        if self.origin != "assumed":
            return ""
        how = self.preprocess
        return (
            f"How the model takes pictures was assumed, as nothing in it tells: {_NAMES[how.colors]}, pixels "
            f"0..255 times {_scale(how.scale)}, nothing subtracted. If it was trained otherwise, calibration and "
            f"measurements are wrong; state it with {OPTIONS}."
        )

    @property
    def facts(self) -> dict[str, Any]:
        """As the report has it."""
        how = self.preprocess
        return {
            "name": self.name,
            "color": how.colors,
            "scale": how.scale,
            "mean": list(how.mean),
            "std": list(how.std),
            "letterbox": how.letterbox,
            # Reports without it mean pictures in the middle.
            **({} if how.alignment == "centered" else {"alignment": how.alignment}),
            "origin": self.origin,
        }


def describe_input(
    specs: Sequence[InputSpec], family: Preprocess | None, options: InputOptions
) -> InputDescription | None:
    """How pictures are fed to a network with these inputs; None where it does not take pictures.

    Args:
        specs: all inputs.
        family: what is known of the model's family, None where it is of none.
        options: what the user states, which goes before what is known.

    Raises:
        OptionError: the options do not fit the input.
    """
    spec = specs[0] if len(specs) == 1 and specs[0].takes_pictures else None
    if spec is None:
        if options.given:
            listed = ", ".join(f"{each.name!r} {list(each.shape)}" for each in specs)
            raise OptionError(f"The model takes no single picture but {listed}.", f"Leave out {OPTIONS}.")
        return None
    usual = family or default_preprocess(spec)
    if options.color in ("rgb", "bgr") and spec.channels == 1:
        raise OptionError(
            f"The input {spec.name!r} has 1 channel, which holds no {options.color}.", "Use --input-color gray."
        )
    for name, numbers in (("mean", options.mean), ("std", options.std)):
        if numbers is not None and len(numbers) not in (1, spec.channels):
            raise OptionError(
                f"The input {name} has {len(numbers)} numbers, and {spec.name!r} has "
                f"{spec.channels} channel{'' if spec.channels == 1 else 's'}.",
                "Give one number, or one per channel.",
            )
    made = Preprocess(
        usual.colors if options.color is None else options.color,
        usual.scale if options.scale is None else options.scale,
        usual.mean if options.mean is None else options.mean,
        usual.std if options.std is None else options.std,
        usual.letterbox,
        usual.pad_value,
        usual.alignment,
        usual.in_graph,
    )
    origin: Origin = "given" if options.given else "assumed" if family is None else "family"
    return InputDescription(spec.name, made, origin)


def recorded_options(facts: Any) -> InputOptions:
    """What the user stated when a report was written; nothing where that report does not say or is not sound."""
    if not isinstance(facts, Mapping) or facts.get("origin") != "given":
        return InputOptions()
    try:
        return read_input_options(*(facts.get(key) for key in ("color", "scale", "mean", "std")))
    except OptionError:
        return InputOptions()


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


def _listed(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers) if len(numbers) != 1 else f"{numbers[0]:g}"


def _scale(scale: float) -> str:
    whole = 1 / scale
    return f"1/{whole:.0f}" if whole > 1.5 and abs(whole - round(whole)) < 1e-6 * whole else f"{scale:g}"
