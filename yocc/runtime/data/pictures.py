"""Pictures that can be had again: to show later what a model found in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from yocc.runtime.data.letterbox import picture_size, read_picture
from yocc.runtime.data.synthetic import synthetic_picture


@dataclass(frozen=True)
class PictureRef:
    """A picture that can be loaded again: a file, or a synthetic one.

    Attributes:
        file: its path; empty for a synthetic one.
        seed: of the synthetic picture.
        index: its number.
        size: its height and width.
    """

    file: str = ""
    seed: int = 0
    index: int = 0
    size: tuple[int, int] = (0, 0)

    def measure(self) -> tuple[int, int]:
        """Its height and width.

        Raises:
            CalibrationError: the file is not there any more, or no picture.
        """
        return picture_size(Path(self.file)) if self.file else self.size

    def open(self) -> Image.Image:
        """Read or generate it, RGB.

        Raises:
            CalibrationError: the file is not there any more, or no picture.
        """
        return (
            read_picture(Path(self.file))
            if self.file
            else Image.fromarray(synthetic_picture(self.seed, self.index, self.size))
        )
