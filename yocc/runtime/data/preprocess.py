"""How a picture becomes a network input: the facts (`Preprocess`, `InputSpec`) and the arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from yocc.errors import CalibrationError, OptionError
from yocc.runtime.data.letterbox import (
    Alignment,
    Placement,
    crop,
    letterbox,
    place_cropped,
    place_letterbox,
    place_stretched,
    stretch,
)

Fit = Literal["letterbox", "letterbox-top-left", "stretch", "crop"]
"""How a picture of another size becomes the input: padded in the middle or at the top left, stretched, or cut."""
FITS: tuple[Fit, ...] = get_args(Fit)
_COLORS = ("rgb", "bgr", "gray")
_CHANNELS = (1, 3)


@dataclass(frozen=True)
class InputSpec:
    """One network input with every dimension known.

    Args:
        name: the input's name.
        shape: its shape, positive integers only; the first axis is the batch.
        dtype: what the network takes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    def __post_init__(self) -> None:
        if not all(isinstance(size, int) and size > 0 for size in self.shape):
            raise OptionError(
                f"Input {self.name!r} has shape {list(self.shape)}.", "Give every dimension as a positive number."
            )

    @property
    def takes_pictures(self) -> bool:
        """Whether the shape is that of a color or gray picture, channels first or channels last."""
        return len(self.shape) == 4 and (self.shape[1] in _CHANNELS or self.shape[3] in _CHANNELS)

    @property
    def channels_first(self) -> bool:
        """Whether the channel axis is axis 1 (NCHW)."""
        return self.shape[1] in _CHANNELS

    @property
    def channels(self) -> int:
        """Number of color channels, 1 or 3."""
        return self.shape[1] if self.channels_first else self.shape[3]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        first = 2 if self.channels_first else 1
        return self.shape[first], self.shape[first + 1]


@dataclass(frozen=True)
class Preprocess:
    """From pixels 0..255 to network values: `(pixel * scale - mean) / std`, channel by channel.

    Args:
        colors: the order of the channels, "rgb" or "bgr"; "gray" is luma (ITU-R BT.601) in every channel.
        scale: factor on the pixel values.
        mean: subtracted after scaling; one number, or one per channel in the order of `colors`.
        std: divided by at last, none 0; one number, or one per channel in the order of `colors`.
        letterbox: keep the aspect ratio and pad; otherwise stretch to the input size, or cut it.
        pad_value: gray level of the padding, 0..255.
        alignment: where a padded picture lies.
        in_graph: whether the network itself places pictures in its input, and takes them at any size.
        crop: scale a picture to cover the input and cut off what is left over at both sides.
    """

    colors: str = "rgb"
    scale: float = 1.0 / 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    letterbox: bool = False
    pad_value: int = 114
    alignment: Alignment = "centered"
    in_graph: bool = False
    crop: bool = False

    @property
    def fit(self) -> Fit:
        """How a picture of another size becomes the input."""
        if self.letterbox:
            return "letterbox" if self.alignment == "centered" else "letterbox-top-left"
        return "crop" if self.crop else "stretch"

    def fitted(self, fit: Fit, pad_value: int) -> Preprocess:
        """The same colors and arithmetic, with pictures that are placed in this way."""
        return replace(
            self,
            letterbox=fit.startswith("letterbox"),
            pad_value=pad_value,
            alignment="top_left" if fit == "letterbox-top-left" else "centered",
            crop=fit == "crop",
        )

    @property
    def takes_pixels(self) -> bool:
        """Whether pixel values stay what they are."""
        return self.scale == 1.0 and not any(self.mean) and all(one == 1.0 for one in self.std)

    def __post_init__(self) -> None:
        if self.colors not in _COLORS:
            raise OptionError(f"Unknown channel order {self.colors!r}.", f"Use one of {', '.join(_COLORS)}.")
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise OptionError(f"The pixel scale is {self.scale}.", "Use a positive number such as 1/255.")
        if not {len(self.mean), len(self.std)} <= {*_CHANNELS}:
            raise OptionError(
                f"mean {self.mean} and std {self.std} do not fit 1 or 3 channels.",
                "Give one number, or one per channel.",
            )
        if not all(np.isfinite(self.mean)) or not all(np.isfinite(self.std)) or 0 in self.std:
            raise OptionError(f"mean {self.mean} or std {self.std} cannot be used.", "Use finite numbers, std not 0.")
        if not 0 <= self.pad_value <= 255:
            raise OptionError(f"The pad value is {self.pad_value}.", "Use a gray level between 0 and 255.")
        if self.letterbox and self.crop:
            raise OptionError("A picture cannot be both padded and cut to the input size.", "Use one of the two.")


def default_preprocess(spec: InputSpec) -> Preprocess:
    """What is assumed of an input nobody describes: RGB, or gray for one channel, in 0..1; integers take 0..255."""
    scale = 1.0 if np.issubdtype(spec.dtype, np.integer) else 1.0 / 255.0
    return Preprocess("gray" if spec.takes_pictures and spec.channels == 1 else "rgb", scale)


def prepare(picture: Image.Image, preprocess: Preprocess, spec: InputSpec) -> tuple[NDArray[np.generic], Placement]:
    """Fit a picture into one network input.

    Args:
        picture: an RGB picture of any size.
        preprocess: how its pixels are placed and scaled.
        spec: the input to fill; a batch larger than 1 repeats the picture.

    Returns:
        The array of `spec.shape` and `spec.dtype`, and where in it the picture lies.

    Raises:
        CalibrationError: the input does not take pictures.
    """
    if not spec.takes_pictures:
        raise CalibrationError(
            f"Input {spec.name!r} of shape {list(spec.shape)} does not take pictures.",
            "Give an .npz file with one array per input.",
        )
    if spec.channels == 1 or preprocess.colors == "gray":
        picture = picture.convert("L")
    if preprocess.in_graph:
        where = place((picture.height, picture.width), preprocess, spec)
        return normalize(np.asarray(picture), preprocess, spec), where
    fitted, placement = fit(picture, spec.size, preprocess)
    return normalize(np.asarray(fitted), preprocess, spec), placement


def fit(picture: Image.Image, size: tuple[int, int], preprocess: Preprocess) -> tuple[Image.Image, Placement]:
    """Bring a picture to a height and width, and say where in them it lies."""
    if preprocess.letterbox:
        return letterbox(picture, size, preprocess.pad_value, preprocess.alignment)
    return crop(picture, size) if preprocess.crop else stretch(picture, size)


def place(picture: tuple[int, int], preprocess: Preprocess, spec: InputSpec) -> Placement:
    """Where `prepare` puts a picture of a height and width."""
    if preprocess.letterbox:
        return place_letterbox(picture, spec.size, preprocess.alignment)
    if preprocess.crop:
        return place_cropped(picture, spec.size)
    return place_stretched(picture, spec.size)


def normalize(pixels: NDArray[np.uint8], preprocess: Preprocess, spec: InputSpec) -> NDArray[np.generic]:
    """Scale, order and type the pixels of a picture that already has the input's size.

    Args:
        pixels: `[h, w, 3]` RGB, or `[h, w]` gray, 0..255.
        preprocess: the arithmetic.
        spec: the input to fill.

    Returns:
        An array of `spec.dtype` and, but for another size of the pixels, `spec.shape`.
    """
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], spec.channels, axis=2)
    elif preprocess.colors == "bgr":
        pixels = pixels[..., ::-1]
    if spec.channels_first:
        pixels = pixels.transpose(2, 0, 1)
    values = _scaled(np.ascontiguousarray(pixels), preprocess, spec)
    return np.repeat(values[None], spec.shape[0], axis=0)


def _scaled(pixels: NDArray[np.uint8], preprocess: Preprocess, spec: InputSpec) -> NDArray[np.generic]:
    if spec.dtype == np.uint8 and preprocess.takes_pixels:
        return pixels
    values = pixels.astype(np.float32)
    values *= np.float32(preprocess.scale)
    axes = (-1, 1, 1) if spec.channels_first else (1, 1, -1)
    if any(preprocess.mean):
        values -= np.asarray(preprocess.mean, np.float32).reshape(axes)
    if any(one != 1.0 for one in preprocess.std):
        values /= np.asarray(preprocess.std, np.float32).reshape(axes)
    if np.issubdtype(spec.dtype, np.integer):
        # Saturated in float64, which holds the bounds of 32-bit types exactly.
        bounds = np.iinfo(spec.dtype.name)
        return np.clip(np.rint(values.astype(np.float64)), bounds.min, bounds.max).astype(spec.dtype)
    return values.astype(spec.dtype, copy=False)
