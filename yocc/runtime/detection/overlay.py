"""Pictures with the boxes a detector found."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

from PIL import Image, ImageDraw

from yocc.runtime.detection.boxes import Detections

_GAP = 8
_CAPTION = 18
_INK = (20, 20, 20)
_PAPER = (255, 255, 255)


def draw_boxes(
    picture: Image.Image, found: Detections, classes: Sequence[str], *, confidence: float = 0.25, zoom: int = 1
) -> Image.Image:
    """A copy of a picture with a box, class and score for each detection.

    Args:
        picture: RGB.
        found: boxes in its pixels.
        classes: names by class number.
        confidence: least score to be shown.
        zoom: factor on the size of the picture.
    """
    canvas = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(canvas)
    shown = found.above(confidence)
    # The best last, so that they are on top.
    for place in reversed(range(len(shown))):
        left, upper, right, lower = (float(value) * zoom for value in shown.boxes[place])
        if right - left < 1 or lower - upper < 1:
            continue
        number = int(shown.classes[place])
        color = _color(number, len(classes))
        pen.rectangle((left, upper, right - 1, lower - 1), outline=color, width=2)
        text = f"{classes[number]} {shown.scores[place]:.2f}"
        width = pen.textlength(text)
        top = max(0.0, upper - 11)
        start = min(left, max(0.0, canvas.width - width - 3))
        pen.rectangle((start, top, start + width + 2, top + 11), fill=color)
        pen.text((start + 1, top), text, fill=_INK)
    return canvas


def side_by_side(pictures: Sequence[Image.Image], captions: Sequence[str]) -> Image.Image:
    """Pictures in a row, each under its caption."""
    width = sum(picture.width for picture in pictures) + _GAP * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures) + _CAPTION), _PAPER)
    pen = ImageDraw.Draw(sheet)
    left = 0
    for picture, caption in zip(pictures, captions, strict=True):
        pen.text((left + 2, 3), caption, fill=_INK)
        sheet.paste(picture, (left, _CAPTION))
        left += picture.width + _GAP
    return sheet


def _color(number: int, count: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(number / max(1, count), 0.75, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)
