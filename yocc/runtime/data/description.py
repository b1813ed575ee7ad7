"""What pictures become before a network sees them, and who said so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from yocc.errors import OptionError
from yocc.runtime.data.preprocess import InputSpec, Preprocess, default_preprocess
from yocc.runtime.data.stated import OPTIONS, InputOptions, listed, read_input_options

Origin = Literal["given", "graph", "metadata", "family", "assumed"]
Facet = Literal["color", "values", "fit"]
_FACETS: Mapping[Facet, tuple[str, ...]] = {
    "color": ("color",),
    "values": ("scale", "mean", "std"),
    "fit": ("fit", "pad"),
}
"""What a description says, and the options that say it."""
_FACET_NAMES: Mapping[Facet, str] = {"color": "color", "values": "scaling", "fit": "fit"}
_WARNED: tuple[Facet, ...] = ("color", "values")
"""What is warned of where nothing tells: a picture that is placed otherwise is still seen as what it is."""
_FITTED = {
    "letterbox": "aspect ratio kept",
    "letterbox-top-left": "aspect ratio kept, at the top left",
    "stretch": "stretched to the input size",
    "crop": "the middle, as large as covers the input",
}
_NAMES = {"rgb": "RGB", "bgr": "BGR", "gray": "gray"}


@dataclass(frozen=True)
class Hint:
    """What something other than the user says of the input.

    Attributes:
        origin: where it comes from.
        reason: what it is, such as "the graph divides it by 255".
        options: what follows; None where it says nothing.
    """

    origin: Origin
    reason: str
    options: InputOptions


@dataclass(frozen=True)
class InputDescription:
    """How pictures become a network's input.

    Attributes:
        name: of the input.
        preprocess: what is done to them.
        origin: "given" by the user in any part; else what says how values are scaled: the "graph", the "metadata", the
            model's "family", or nothing, so that it was "assumed".
        reason: what says which part of it, in words.
        assumed: which parts nothing says.
    """

    name: str
    preprocess: Preprocess
    origin: Origin
    reason: str = ""
    assumed: tuple[Facet, ...] = ()

    @property
    def text(self) -> str:
        """Color and arithmetic in words."""
        return f"{_colors_text(self.preprocess)}, {_FITTED[self.preprocess.fit]}"

    @property
    def warning(self) -> str:
        """What to say where color order or scaling was assumed; empty where they are known."""
        how = self.preprocess
        guessed = [facet for facet in _WARNED if facet in self.assumed]
        said = {
            "color": _NAMES[how.colors],
            "values": f"pixels 0..255 times {_scale(how.scale)}, nothing subtracted",
        }
        if not guessed:
            return ""
        what = {
            "color": "The color order of the model's pictures",
            "values": "How the model scales pictures",
        }[guessed[0]]
        if len(guessed) == len(_WARNED):
            what = "How the model takes pictures"
        remedy = "--input-color" if guessed == ["color"] else OPTIONS
        return (
            f"{what} was assumed, as nothing in it tells: {', '.join(said[facet] for facet in guessed)}. If it was "
            f"trained otherwise, calibration and measurements are wrong; state it with {remedy}."
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
            "fit": how.fit,
            "pad": how.pad_value,
            "text": self.text,
            "origin": self.origin,
            "reason": self.reason,
            "assumed": list(self.assumed),
        }


def describe_input(specs: Sequence[InputSpec], hints: Sequence[Hint], options: InputOptions) -> InputDescription | None:
    """How pictures are fed to a network with these inputs; None where it does not take pictures.

    Args:
        specs: all inputs.
        hints: what is known of the model; where two say something, the first counts.
        options: what the user states, which goes before what is known.

    Raises:
        OptionError: the options do not fit the input.
    """
    spec = specs[0] if len(specs) == 1 and specs[0].takes_pictures else None
    if spec is None:
        if options.given:
            taken = ", ".join(f"{each.name!r} {list(each.shape)}" for each in specs)
            raise OptionError(f"The model takes no single picture but {taken}.", f"Leave out {OPTIONS}.")
        return None
    _require_fitting(options, spec)
    sources = [*_given(options, spec), *_of_input(spec), *hints]
    made = InputOptions()
    for each in sources:
        made = made.over(each.options)
    first = {
        facet: next((each for each in sources if each.options.says(*names)), None) for facet, names in _FACETS.items()
    }
    origin: Origin = "given" if options.given else "assumed" if first["values"] is None else first["values"].origin
    assumed = tuple(facet for facet, source in first.items() if source is None)
    return InputDescription(spec.name, _applied(made, default_preprocess(spec)), origin, _reason(first), assumed)


def known_as(how: Preprocess) -> InputOptions:
    """Everything that a description says, as options."""
    return InputOptions(how.colors, how.scale, how.mean, how.std, how.fit, how.pad_value)


def options_text(options: InputOptions) -> str:
    """Color, arithmetic and, where it is stated, placement in words; what is not stated is as usual."""
    how = _applied(options, Preprocess())
    return _colors_text(how) + (f", {_FITTED[how.fit]}" if options.fit else "")


def still_assumed(assumed: Sequence[Facet], stated: InputOptions) -> tuple[Facet, ...]:
    """Which parts that nothing said the user does not state either."""
    said = stated.own if stated.base is None else stated.own.over(stated.base)
    return tuple(facet for facet in assumed if not said.says(*_FACETS[facet]))


def recorded_options(facts: Any) -> InputOptions:
    """What the user stated when a report was written; nothing where that report does not say or is not sound."""
    if not isinstance(facts, Mapping) or facts.get("origin") != "given":
        return InputOptions()
    try:
        return read_input_options(*(facts.get(key) for key in ("color", "scale", "mean", "std", "fit", "pad")))
    except OptionError:
        return InputOptions()


def _given(options: InputOptions, spec: InputSpec) -> Iterator[Hint]:
    """What the user states, and the convention that the user names."""
    yield Hint("given", "as given", options.own)
    base = options.base
    if base is not None:
        if np.issubdtype(spec.dtype, np.integer):
            # An input of integers takes pixels, whatever else the convention says of floating-point ones.
            base = replace(base, scale=None, mean=None, std=None)
        yield Hint("given", f"--preprocess {options.name}" if options.name else "as given", base)


def _of_input(spec: InputSpec) -> Iterator[Hint]:
    """What the type and the channels of the input say."""
    if spec.channels == 1:
        yield Hint("graph", "the input has one channel", InputOptions(color="gray"))
    if np.issubdtype(spec.dtype, np.integer):
        pixels = InputOptions(scale=1.0, mean=(0.0,), std=(1.0,))
        yield Hint("graph", f"the input is of type {np.dtype(spec.dtype).name}", pixels)


def _applied(options: InputOptions, usual: Preprocess) -> Preprocess:
    """A description with what the options say."""
    made = replace(
        usual,
        colors=usual.colors if options.color is None else options.color,
        scale=usual.scale if options.scale is None else options.scale,
        mean=usual.mean if options.mean is None else options.mean,
        std=usual.std if options.std is None else options.std,
    )
    return made.fitted(options.fit or usual.fit, usual.pad_value if options.pad is None else options.pad)


def _reason(first: Mapping[Facet, Hint | None]) -> str:
    """Who says what, such as "as given: color; yolov8: values and fit"."""
    parts: dict[str, list[str]] = {}
    for facet, source in first.items():
        parts.setdefault("assumed" if source is None else source.reason, []).append(_FACET_NAMES[facet])
    if len(parts) == 1:
        return next(iter(parts))
    return "; ".join(f"{' and '.join(names)}: {reason}" for reason, names in parts.items())


def _require_fitting(options: InputOptions, spec: InputSpec) -> None:
    """Colors and numbers must be of as many channels as the input has.

    Raises:
        OptionError: they are not.
    """
    stated = options.own if options.base is None else options.own.over(options.base)
    if stated.color in ("rgb", "bgr") and spec.channels == 1:
        raise OptionError(
            f"The input {spec.name!r} has 1 channel, which holds no {stated.color}.", "Use --input-color gray."
        )
    for name, numbers in (("mean", stated.mean), ("std", stated.std)):
        if numbers is not None and len(numbers) not in (1, spec.channels):
            raise OptionError(
                f"The input {name} has {len(numbers)} numbers, and {spec.name!r} has "
                f"{spec.channels} channel{'' if spec.channels == 1 else 's'}.",
                "Give one number, or one per channel.",
            )


def _colors_text(how: Preprocess) -> str:
    return f"{_NAMES[how.colors]}, (pixel * {_scale(how.scale)} - {listed(how.mean)}) / {listed(how.std)}"


def _scale(scale: float) -> str:
    whole = 1 / scale
    return f"1/{whole:.0f}" if whole > 1.5 and abs(whole - round(whole)) < 1e-6 * whole else f"{scale:g}"
