"""One street scene: a picture, and the box and class of each object in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from yocc.errors import OptionError
from yocc.models.street import scenery
from yocc.models.street.objects import CLASSES, DRAWN
from yocc.models.street.shapes import Part, Pose, bar, ellipse, shade

_OVERSAMPLING = 2
"""Canvas pixels per picture pixel in each direction; Pillow's polygons have hard edges."""
_SMALLEST_SIDE = 5.0
"""Picture pixels of a 320-pixel picture below which an object is too small to be labeled, and is not drawn."""
_LEAST_VISIBLE = 0.3
"""Share of an object's pixels that has to be seen for it to be labeled."""

_HEIGHTS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "car": (0.75, 0.95),
        "bus": (1.6, 1.9),
        "truck": (1.4, 2.0),
        "pedestrian": (0.8, 1.1),
        "cyclist": (0.9, 1.1),
        "traffic light": (0.45, 0.75),
        "stop sign": (0.35, 0.55),
        "cone": (0.35, 0.6),
    }
)
"""Height in heights of a person at the same distance, least and most."""
_HANGING: Mapping[str, tuple[float, float]] = MappingProxyType({"traffic light": (1.3, 2.6), "stop sign": (0.9, 1.6)})
"""How high above the ground an object hangs on its pole, in heights of a person."""
_COMMON = (0.22, 0.1, 0.11, 0.19, 0.11, 0.1, 0.08, 0.09)
"""How often each of `CLASSES` is drawn."""
_SCENERY = (scenery.tree, scenery.pole, scenery.sign, scenery.bollard, scenery.kiosk)
_SCENERY_HEIGHTS = ((1.2, 3.5), (1.5, 3.0), (0.35, 0.6), (0.35, 0.8), (0.9, 1.9))
"""Least and most height of each, in heights of a person."""


@dataclass(frozen=True)
class Scene:
    """A picture with its ground truth.

    Attributes:
        picture: `[h, w, 3]` RGB.
        boxes: `[n, 4]` x1, y1, x2, y2 in pixels around what is seen of each object.
        classes: `[n]` class numbers, places in `CLASSES`.
    """

    picture: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]


def draw_scene(seed: int, size: int = 320) -> Scene:
    """Draw one scene; the same arguments give the same bytes.

    On a processor with other vector instructions numpy may round differently, and a pixel be one level off.

    Args:
        seed: number of the scene, not negative; `SPLITS` says which are whose.
        size: height and width in pixels, at least 64.

    Raises:
        OptionError: a negative seed or too small a size.
    """
    if seed < 0 or size < 64:
        raise OptionError(f"Cannot draw scene {seed} at {size} pixels.", "Use a seed from 0 and at least 64 pixels.")
    random = np.random.default_rng([5, seed])
    side = size * _OVERSAMPLING
    horizon = random.uniform(0.25, 0.6) * side
    view = scenery.View((side, side), horizon, nearest=random.uniform(0.16, 0.48) * side)
    canvas = _Canvas(side)
    scenery.draw_ground(random, canvas.pen, view)
    scenery.draw_litter(random, canvas.pen, view)
    _draw_things(random, canvas, view)
    boxes, classes, ids = canvas.labels(smallest=_SMALLEST_SIDE * side / 320)
    picture = _light(random, canvas.picture(), ids)
    return Scene(picture, boxes, classes)


class _Canvas:
    """Colors, and in a second layer which object is seen at each pixel."""

    def __init__(self, side: int) -> None:
        self._colors = Image.new("RGB", (side, side))
        self._ids = Image.new("L", (side, side), 0)
        self.pen = ImageDraw.Draw(self._colors)
        self._id_pen = ImageDraw.Draw(self._ids)
        self._classes: list[int] = []
        self._areas: list[int] = []
        self._side = side

    def add(self, parts: list[Part], pose: Pose, number: int | None) -> None:
        """Draw over what is there, as an object of class `number`, or as scenery."""
        identity = 0
        if number is not None:
            self._classes.append(number)
            identity = len(self._classes)
        outlines = [pose.place(part.points) for part in parts]
        for part, outline in zip(parts, outlines, strict=True):
            self.pen.polygon(outline, fill=part.color)
            self._id_pen.polygon(outline, fill=identity)
        if identity:
            self._areas.append(self._area(identity, outlines))

    def _area(self, identity: int, outlines: list[list[float]]) -> int:
        """Pixels of the object drawn last; one half out of the picture counts as half seen, by its extent."""
        side = self._side
        x = [value for outline in outlines for value in outline[::2]]
        y = [value for outline in outlines for value in outline[1::2]]
        extent = min(*x, side), min(*y, side), max(*x, 0.0), max(*y, 0.0)
        left, upper, right, lower = (int(min(max(value, 0), side)) for value in extent)
        seen: int = self._ids.crop((left, upper, right + 1, lower + 1)).histogram()[identity]
        inside = (right - left + 1) * (lower - upper + 1)
        whole = (extent[2] - extent[0] + 1) * (extent[3] - extent[1] + 1)
        return int(seen * max(1.0, whole / inside))

    def picture(self) -> NDArray[np.uint8]:
        """The colors, averaged down to the picture's size."""
        return np.asarray(self._colors.reduce(_OVERSAMPLING))

    def labels(self, smallest: float) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.uint8]]:
        """Boxes in picture pixels and classes of what can be seen, and the layer of objects at the picture's size."""
        ids = np.asarray(self._ids)
        boxes, classes = [], []
        for identity, (number, area) in enumerate(zip(self._classes, self._areas, strict=True), 1):
            seen = ids == identity
            rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
            if not len(rows) or np.count_nonzero(seen) < _LEAST_VISIBLE * area:
                continue
            box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
            if min(box[2] - box[0], box[3] - box[1]) < smallest:
                continue
            boxes.append(box)
            classes.append(number)
        return (
            np.array(boxes, np.float32).reshape(-1, 4) / np.float32(_OVERSAMPLING),
            np.array(classes, np.int64),
            ids[::_OVERSAMPLING, ::_OVERSAMPLING],
        )


def _draw_things(random: np.random.Generator, canvas: _Canvas, view: scenery.View) -> None:
    """Objects and scenery from far to near."""
    height, width = view.size
    count = int(random.integers(3, 17))
    clutter = int(random.integers(2, 8))
    near = random.random(count + clutter) ** 1.7
    feet = view.horizon + (height * 1.08 - view.horizon) * (0.08 + 0.92 * near)
    labeled = np.zeros(count + clutter, bool)
    labeled[:count] = True
    for place in np.argsort(feet, kind="stable"):
        y = float(feet[place])
        x = random.uniform(-0.02, 1.02) * width
        person = view.scale(y)
        if labeled[place]:
            _draw_object(random, canvas, (x, y), person)
            continue
        kind = int(random.integers(len(_SCENERY)))
        tall = random.uniform(*_SCENERY_HEIGHTS[kind]) * person
        if _SCENERY[kind] is scenery.sign:
            y = _hang(random, canvas, (x, y), random.uniform(*_HANGING["stop sign"]) * person, person)
        canvas.add(_SCENERY[kind](random), _pose(random, (x, y), tall, loose=0.03), None)


def _draw_object(random: np.random.Generator, canvas: _Canvas, foot: tuple[float, float], person: float) -> None:
    number = int(random.choice(len(CLASSES), p=_COMMON))
    name = CLASSES[number]
    tall = random.uniform(*_HEIGHTS[name]) * person
    x, y = foot
    if name in _HANGING:
        y = _hang(random, canvas, foot, random.uniform(*_HANGING[name]) * person, person)
    loose = 0.35 if name == "cone" and random.random() < 0.2 else 0.08
    pose = _pose(random, (x, y), max(tall, 6.0), loose)
    if name not in _HANGING:
        shadow = ellipse(0.05, 0.0, 0.9 if tall < person * 0.7 else 1.4, 0.12, (35, 35, 38), corners=10)
        canvas.add([shadow], pose, None)
    canvas.add(DRAWN[name](random), pose, number)


def _hang(
    random: np.random.Generator, canvas: _Canvas, foot: tuple[float, float], above: float, person: float
) -> float:
    """Draw a pole and return the y of its top."""
    top = foot[1] - above
    grey = shade((120, 120, 122), random.uniform(0.4, 1.4))
    canvas.add([bar((0, 0), (0, 1), 0.06 * person / max(above, 1.0), grey)], Pose(foot, above), None)
    return top


def _pose(random: np.random.Generator, foot: tuple[float, float], height: float, loose: float) -> Pose:
    mirror = 1.0 if random.random() < 0.5 else -1.0
    return Pose(
        foot,
        height,
        stretch=mirror * random.uniform(0.8, 1.15),
        turn=random.normal(0.0, loose),
        shear=random.normal(0.0, loose),
    )


def _light(random: np.random.Generator, pixels: NDArray[np.uint8], ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Surface texture, light, haze, blur and noise of the sensor."""
    size = (pixels.shape[0], pixels.shape[1])
    # Each object is smooth or rough; the scenery shows more of the texture.
    roughness = random.exponential(0.12, 256).astype(np.float32)
    roughness[0] = random.uniform(0.08, 0.3)
    exposure = random.normal(0.0, 0.55)
    down, across = random.normal(0.0, 0.35, 2)
    slope = np.linspace(-down, down, size[0])[:, None] + np.linspace(-across, across, size[1])
    light = roughness[ids]
    light *= scenery.texture(random, size)
    light += slope.astype(np.float32)
    light += np.float32(exposure)
    np.exp2(light, out=light)
    tint = np.exp2(random.normal(0.0, 0.12, 3)).astype(np.float32)
    values = light[..., None] * tint
    values *= pixels
    haze = max(0.0, random.normal(-0.1, 0.3))
    if haze > 0:
        share = np.float32(min(haze, 0.6))
        values *= 1 - share
        values += share * np.float32(random.uniform(90, 220))
    if random.random() < 0.5:
        noise = random.standard_normal(size, dtype=np.float32)
        noise *= np.float32(random.uniform(2, 14))
        values += noise[..., None]
    picture = Image.fromarray(np.clip(values, 0, 255, out=values).astype(np.uint8))
    blur = random.exponential(0.45)
    if blur > 0.2:
        picture = picture.filter(ImageFilter.BoxBlur(min(blur, 1.6) * size[0] / 320))
    return np.asarray(picture)
