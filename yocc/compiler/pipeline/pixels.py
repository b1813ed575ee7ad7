"""How the numbers of a picture input follow from pixels, for passes that put that into the graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

Color = Literal["rgb", "bgr", "gray"]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Pixels:
    """`(pixel * scale - mean) / std` with pixels 0..255, channel by channel.

    Attributes:
        color: the order of the channels.
        scale: factor on the pixels.
        mean: subtracted after scaling; one number, or one for each channel in the order of `color`.
        std: divided by at last; the same.
        fit: whether a picture keeps its aspect ratio and is padded, is stretched to the input's size,
            or is cut to it.
        alignment: where a picture that is padded lies.
        pad_value: gray level of the padding.
    """

    color: Color
    scale: float
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    fit: Literal["letterbox", "stretch", "crop"] = "stretch"
    alignment: Literal["centered", "top_left"] = "centered"
    pad_value: int = 114

    @property
    def zero(self) -> Array:
        """The pixel that becomes 0, of one or each channel."""
        return np.asarray(self.mean, np.float64) / self.scale

    @property
    def unit(self) -> Array:
        """What a step of one pixel value becomes, of one or each channel."""
        return self.scale / np.asarray(self.std, np.float64)

    def reversed(self) -> Pixels:
        """The same of channels in the opposite order."""
        color: Color = "rgb" if self.color == "bgr" else "bgr"
        return replace(self, color=color, mean=self.mean[::-1], std=self.std[::-1])

    def whole_range(self) -> tuple[float, float] | None:
        """What black and white become, where bytes fit an integer scale of 256 levels; None where they do not.

        They do where all channels have one unit and one zero, which is a byte itself.
        """
        unit, zero = np.unique(self.unit), np.unique(self.zero)
        if unit.size != 1 or zero.size != 1 or unit[0] <= 0:
            return None
        if not 0 <= zero[0] <= 255 or zero[0] != np.rint(zero[0]):
            return None
        return float(-zero[0] * unit[0]), float((255 - zero[0]) * unit[0])
