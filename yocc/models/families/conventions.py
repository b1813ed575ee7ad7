"""Ways to feed pictures that have a name: those of the families, and those in general use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from yocc.compiler.pipeline.registry import nearest
from yocc.errors import OptionError
from yocc.models.families.family import families
from yocc.runtime.data.description import known_as
from yocc.runtime.data.stated import InputOptions, read_input_options

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_PIXELS = InputOptions(scale=1.0, mean=(0.0,), std=(1.0,))
_UNIT = InputOptions(scale=1 / 255, mean=(0.0,), std=(1.0,))
_SIGNED = InputOptions(scale=1 / 127.5, mean=(1.0,), std=(1.0,))
GENERAL: Mapping[str, InputOptions] = {
    "rgb": replace(_UNIT, color="rgb"),
    "bgr": replace(_UNIT, color="bgr"),
    "rgb-255": replace(_PIXELS, color="rgb"),
    "bgr-255": replace(_PIXELS, color="bgr"),
    "rgb-signed": replace(_SIGNED, color="rgb"),
    "bgr-signed": replace(_SIGNED, color="bgr"),
    "imagenet": InputOptions("rgb", 1 / 255, _IMAGENET_MEAN, _IMAGENET_STD),
    "imagenet-bgr": InputOptions("bgr", 1 / 255, _IMAGENET_MEAN[::-1], _IMAGENET_STD[::-1]),
    "imagenet-255": InputOptions("rgb", 1.0, (123.675, 116.28, 103.53), (1.0,)),
    "caffe": InputOptions("bgr", 1.0, (103.939, 116.779, 123.68), (1.0,)),
}
"""Colors and scaling: 0..1, 0..255, -1..1; ImageNet's mean and deviation as in torchvision; its mean in 0..255, as in
torchvision's SSD (RGB) and Caffe's models (BGR). How a picture is placed they leave open."""


def conventions() -> Mapping[str, InputOptions]:
    """Every convention by name; those of families say also how a picture is placed.

    Raises:
        OptionError: two distributions register a family of the same name.
    """
    loaded = {name: getattr(plugin.loaded, "feeding", None) for name, plugin in sorted(families().items())}
    return {**GENERAL, **{name: known_as(how) for name, how in loaded.items() if how is not None}}


def stated_input(values: Mapping[str, Any]) -> InputOptions:
    """What the options `preprocess` and `input_...` state of the input, the latter before the former.

    Args:
        values: of options by name; others than these are left aside.

    Raises:
        OptionError: there is no such convention, or a value is no number, not finite or out of range.
    """
    stated = read_input_options(*(values.get(f"input_{name}") for name in _NAMES))
    name = values.get("preprocess")
    if name is None:
        return stated
    known = conventions()
    if name not in known:
        raise OptionError(f"There is no preprocessing {name!r}.", nearest(name, known))
    return replace(stated, name=name, base=known[name])


_NAMES = ("color", "scale", "mean", "std", "fit", "pad")
