"""Reading a picture and placing it in a network input of another size, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from yocc.errors import CalibrationError

_ORIENTATION = ExifTags.Base.Orientation
Alignment = Literal["centered", "top_left"]
"""Where in a letterbox the picture lies."""

_TURNED = range(5, 9)
"""EXIF orientations that exchange height and width."""


@dataclass(frozen=True)
class Placement:
    """Where in the network input a picture lies: `input = picture * scale + offset` on each axis.

    Args:
        picture: height and width of the picture, in its own pixels.
        scale: input pixels per picture pixel, vertically and horizontally.
        offset: input pixels above and left of the picture; negative where it is cut.
    """

    picture: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[int, int]

    def to_input(self, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map xyxy boxes `[n, 4]` in picture pixels to network input pixels."""
        return boxes.astype(np.float64) * self._scales() + self._offsets()

    def to_picture(self, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map xyxy boxes `[n, 4]` in network input pixels to picture pixels, clipped to the picture."""
        height, width = self.picture
        moved = (boxes.astype(np.float64) - self._offsets()) / self._scales()
        return np.clip(moved, 0.0, np.array([width, height, width, height], np.float64))

    def _scales(self) -> NDArray[np.float64]:
        return np.array([self.scale[1], self.scale[0]] * 2, np.float64)

    def _offsets(self) -> NDArray[np.float64]:
        return np.array([self.offset[1], self.offset[0]] * 2, np.float64)


def read_picture(path: Path) -> Image.Image:
    """Decode a picture file to RGB, upright as its EXIF orientation says; of 16 bits the upper 8 are kept.

    Raises:
        CalibrationError: the file is missing, not a picture, or cut short.
    """
    try:
        with Image.open(path) as file:
            upright = ImageOps.exif_transpose(file)
            if upright.mode.startswith("I"):  # Pillow's own conversion cuts every value above 255 off
                upright = Image.fromarray((np.asarray(upright) >> 8).clip(0, 255).astype(np.uint8))
            return upright.convert("RGB")
    except FileNotFoundError:
        raise CalibrationError(f"There is no picture {path}.", "Check the path.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CalibrationError(
            f"The picture {path} cannot be read ({error}).", "Remove it from the folder or save it again."
        ) from error


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture file as `read_picture` gives it, from its header alone.

    Raises:
        CalibrationError: the file is missing or not a picture.
    """
    try:
        with Image.open(path) as file:
            turned = file.getexif().get(_ORIENTATION, 1) in _TURNED
            return (file.width, file.height) if turned else (file.height, file.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CalibrationError(
            f"The picture {path} cannot be read ({error}).", "Remove it from the folder or save it again."
        ) from error


def letterbox(
    picture: Image.Image, size: tuple[int, int], pad_value: int, alignment: Alignment = "centered"
) -> tuple[Image.Image, Placement]:
    """Scale a picture to fit, keeping its aspect ratio, and place it on a gray ground.

    The geometry is that of YOLOv5 (utils/augmentations.py, `letterbox` with `auto=False`): ratio
    `min(h/H, w/W)`, rounded size, the odd padding pixel below and right. YOLOX (yolox/data/data_augment.py,
    `preproc`) places the picture at the top left.

    Args:
        picture: RGB or gray.
        size: height and width of the network input.
        pad_value: gray level of the ground.
        alignment: in the middle of the ground, or in its top left corner.

    Returns:
        The picture of `size`, and where the original lies in it.
    """
    height, width = size
    inner, (top, left) = _fitted((picture.height, picture.width), size, alignment)
    ground = Image.new(picture.mode, (width, height), (pad_value,) * len(picture.getbands()))
    ground.paste(_resized(picture, inner), (left, top))
    return ground, place_letterbox((picture.height, picture.width), size, alignment)


def stretch(picture: Image.Image, size: tuple[int, int]) -> tuple[Image.Image, Placement]:
    """Scale a picture to `size` (height, width), each axis by its own factor."""
    return _resized(picture, size), place_stretched((picture.height, picture.width), size)


def crop(picture: Image.Image, size: tuple[int, int]) -> tuple[Image.Image, Placement]:
    """Scale a picture to cover `size` (height, width), keeping its aspect ratio, and take the middle of it."""
    inner, (top, left) = _covering((picture.height, picture.width), size)
    middle = _resized(picture, inner).crop((left, top, left + size[1], top + size[0]))
    return middle, place_cropped((picture.height, picture.width), size)


def place_letterbox(picture: tuple[int, int], size: tuple[int, int], alignment: Alignment = "centered") -> Placement:
    """Where `letterbox` puts a picture of a height and width in an input of `size`."""
    inner, offset = _fitted(picture, size, alignment)
    return Placement(picture, (inner[0] / picture[0], inner[1] / picture[1]), offset)


def place_stretched(picture: tuple[int, int], size: tuple[int, int]) -> Placement:
    """Where `stretch` puts a picture of a height and width in an input of `size`."""
    return Placement(picture, (size[0] / picture[0], size[1] / picture[1]), (0, 0))


def place_cropped(picture: tuple[int, int], size: tuple[int, int]) -> Placement:
    """Where `crop` puts a picture of a height and width in an input of `size`."""
    inner, (top, left) = _covering(picture, size)
    return Placement(picture, (inner[0] / picture[0], inner[1] / picture[1]), (-top, -left))


def _covering(picture: tuple[int, int], size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width of a picture that covers a size, and the pixels cut off above and left of it."""
    ratio = max(size[0] / picture[0], size[1] / picture[1])
    inner = (max(size[0], round(picture[0] * ratio)), max(size[1], round(picture[1] * ratio)))
    return inner, (round((inner[0] - size[0]) / 2), round((inner[1] - size[1]) / 2))


def _fitted(
    picture: tuple[int, int], size: tuple[int, int], alignment: Alignment
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width of a picture that fits, and the pixels above and left of it."""
    ratio = min(size[0] / picture[0], size[1] / picture[1])
    inner = (max(1, round(picture[0] * ratio)), max(1, round(picture[1] * ratio)))
    if alignment != "centered":
        return inner, (0, 0)
    return inner, (round((size[0] - inner[0]) / 2 - 0.1), round((size[1] - inner[1]) / 2 - 0.1))


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    if (picture.height, picture.width) == size:
        return picture
    return picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
