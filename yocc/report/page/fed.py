"""Pictures as the network was fed them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from yocc.errors import CalibrationError, OptionError
from yocc.report.page.pictures import data_uri
from yocc.runtime.data.pictures import PictureRef
from yocc.runtime.data.preprocess import InputSpec, Preprocess, prepare

_SIDE = 224
"""Longer side of an embedded picture in pixels."""
_CHANNELS = {"rgb": ("red", "green", "blue"), "bgr": ("blue", "green", "red"), "gray": ("gray",)}


@dataclass(frozen=True)
class Fed:
    """A picture as the network was fed it.

    Attributes:
        data: as a data URI, with colors turned back to pixels.
        width: in pixels.
        height: in pixels.
        channels: the channels in the order of the input with the least and the largest value of each.
    """

    data: str
    width: int
    height: int
    channels: str


def fed_pictures(content: Mapping[str, Any]) -> tuple[Fed, ...]:
    """The pictures that a report names, loaded again; those that are not there any more are left out."""
    said = content.get("input") or {}
    found = []
    for where in said.get("pictures", ()):
        ref = PictureRef(where["file"], where["seed"], where["index"], tuple(where["size"]))
        try:
            found.append(_fed(ref.open(), said))
        except (CalibrationError, OptionError):
            continue
    return tuple(found)


def _fed(picture: Image.Image, said: Mapping[str, Any]) -> Fed:
    how = Preprocess(said["color"], said["scale"], tuple(said["mean"]), tuple(said["std"])).fitted(
        said["fit"], said["pad"]
    )
    spec = InputSpec(said["name"], (1, *said["shape"][1:]), np.dtype(np.float32))
    array, _ = prepare(picture, how, spec)
    values = np.moveaxis(array[0], 0, -1) if spec.channels_first else array[0]
    pixels = (values * np.asarray(how.std) + np.asarray(how.mean)) / how.scale
    shown = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    if how.colors == "bgr":
        shown = shown[..., ::-1]
    small = Image.fromarray(shown[..., 0] if shown.shape[-1] == 1 else np.ascontiguousarray(shown)).convert("RGB")
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    names = _CHANNELS[how.colors] * (1 if how.colors != "gray" else spec.channels)
    ranges = (
        f"{name} {values[..., place].min():.3g} to {values[..., place].max():.3g}" for place, name in enumerate(names)
    )
    return Fed(data_uri(small), small.width, small.height, ", ".join(ranges))
