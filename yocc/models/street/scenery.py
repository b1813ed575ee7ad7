"""What surrounds the objects of a street scene and carries no label: sky, houses, road, trees, poles, litter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from yocc.models.street.objects import any_color
from yocc.models.street.shapes import Color, Part, Pose, bar, box, ellipse, polygon, shade

_COARSEST = 8
"""Pixels along the longer side of the coarsest octave of a texture."""


@dataclass(frozen=True)
class View:
    """The geometry of a scene, in pixels of the canvas.

    Attributes:
        size: height and width.
        horizon: y at which things are infinitely far.
        nearest: height of someone standing at the lower edge.
    """

    size: tuple[int, int]
    horizon: float
    nearest: float

    def scale(self, y: float) -> float:
        """Height of someone who stands at `y`, at least a hundredth of the picture."""
        near = (y - self.horizon) / (self.size[0] - self.horizon)
        return max(near * self.nearest, self.size[0] / 100)


def texture(random: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """A field of about unit variance with equal variance in each octave, an amplitude of 1/f (Field 1987)."""
    octaves = max(1, int(np.ceil(np.log2(max(size) / _COARSEST))) + 1)
    field = np.zeros((1, 1), np.float32)
    for octave in reversed(range(octaves)):
        height, width = (-(-side // 2**octave) for side in size)
        coarse = Image.fromarray(field).resize((width, height), Image.Resampling.BILINEAR)
        field = np.asarray(coarse) + random.standard_normal((height, width), dtype=np.float32)
    return field / np.float32(np.sqrt(octaves))


def draw_ground(random: np.random.Generator, pen: ImageDraw.ImageDraw, view: View) -> None:
    """Sky, a row of houses and hedges at the horizon, the ground, a road with its markings."""
    height, width = view.size
    day = random.random()
    sky = (int(90 + 140 * day), int(110 + 130 * day), int(140 + 110 * day))
    pen.rectangle((0, 0, width, view.horizon), fill=sky)
    paint = any_color(random)
    # Earth, grass and paving are dull.
    ground = (paint[0] // 4 + 75, paint[1] // 4 + 78, paint[2] // 4 + 60)
    pen.rectangle((0, view.horizon, width, height), fill=ground)
    _draw_houses(random, pen, view)
    vanish = random.uniform(0.2, 0.8) * width
    left, right = sorted(random.uniform(-0.6, 1.6, 2) * width)
    grey = int(random.integers(60, 150))
    road = (grey, grey, grey + 5)
    top = view.horizon + 0.01 * height
    pen.polygon([vanish - 4, top, vanish + 4, top, right + 0.3 * width, height, left - 0.3 * width, height], fill=road)
    middle = (left + right) / 2
    line: Color = (225, 225, 215)
    for number in range(int(random.integers(0, 6))):
        first, second = 0.12 * 1.5**number, 0.17 * 1.5**number
        if second > 1:
            break
        points = []
        for share, side in ((first, -1), (first, 1), (second, 1), (second, -1)):
            points += [vanish + (middle - vanish) * share + side * 0.02 * width * share, top + (height - top) * share]
        pen.polygon(points, fill=line)


def _draw_houses(random: np.random.Generator, pen: ImageDraw.ImageDraw, view: View) -> None:
    height, width = view.size
    x = random.uniform(-0.2, 0.1) * width
    while x < width:
        wide = random.uniform(0.08, 0.3) * width
        roof = view.horizon - random.uniform(0.05, 0.5) * height
        base = view.horizon + random.uniform(0.0, 0.05) * height
        kind = random.random()
        wall = any_color(random)
        if kind < 0.25:
            green = (int(random.integers(20, 70)), int(random.integers(60, 120)), int(random.integers(20, 60)))
            pen.ellipse((x, min(roof, base - 2), x + wide, base + wide * 0.2), fill=green)
        elif kind < 0.85:
            pen.rectangle((x, roof, x + wide, base), fill=wall)
            pane = shade(wall, random.uniform(0.4, 1.6))
            columns, rows = int(random.integers(2, 6)), int(random.integers(2, 6))
            for column in range(columns):
                for row in range(rows):
                    left = x + wide * (column + 0.25) / columns
                    upper = roof + (base - roof) * (row + 0.25) / rows
                    pen.rectangle((left, upper, left + wide / columns / 2, upper + (base - roof) / rows / 2), fill=pane)
        x += wide * random.uniform(0.7, 1.5)


def tree(random: np.random.Generator) -> list[Part]:
    """A trunk with a crown of some ellipses, or a conifer."""
    green: Color = (int(random.integers(20, 110)), int(random.integers(55, 140)), int(random.integers(15, 60)))
    trunk: Color = (int(random.integers(50, 110)), int(random.integers(40, 80)), int(random.integers(25, 60)))
    parts = [bar((0, 0), (random.uniform(-0.05, 0.05), 0.5), 0.07, trunk)]
    if random.random() < 0.3:
        return [*parts, polygon([(-0.28, 0.18), (0.28, 0.18), (0.0, 1.0)], green)]
    for _ in range(int(random.integers(3, 7))):
        x, y = random.uniform(-0.2, 0.2), random.uniform(0.5, 0.85)
        across = random.uniform(0.2, 0.45)
        parts.append(ellipse(x, y, across, across * 0.8, shade(green, random.uniform(0.7, 1.25)), corners=9))
    return parts


def pole(random: np.random.Generator) -> list[Part]:
    """A lamp post or a bare pole."""
    grey = shade((110, 112, 115), random.uniform(0.4, 1.5))
    parts = [bar((0, 0), (0, 1.0), random.uniform(0.02, 0.05), grey)]
    if random.random() < 0.6:
        parts += [bar((0, 0.98), (0.2, 1.0), 0.025, grey), ellipse(0.22, 0.985, 0.1, 0.05, (235, 230, 200), corners=8)]
    return parts


def sign(random: np.random.Generator) -> list[Part]:
    """A road sign that is no stop sign: round, triangular, square or a diamond, sometimes red."""
    face = (200, 30, 35) if random.random() < 0.4 else any_color(random)
    corners = int(random.choice([3, 4, 4, 14]))
    turn = float(random.choice([np.pi / 2, np.pi / 4, 0.0]))
    rim: Color = (235, 235, 230) if random.random() < 0.6 else (30, 30, 30)
    parts = [
        ellipse(0, 0.5, 1.0, 1.0, rim, corners=corners, turn=turn),
        ellipse(0, 0.5, 0.85, 0.85, face, corners=corners, turn=turn),
    ]
    if random.random() < 0.6:
        parts.append(box(-0.25, 0.42, 0.25, 0.58, (240, 240, 235)))
    return parts


def bollard(random: np.random.Generator) -> list[Part]:
    """A post or a bin of about a cone's size, sometimes orange and banded like one."""
    body = (225, 105, 40) if random.random() < 0.4 else any_color(random)
    half = random.uniform(0.12, 0.4)
    parts = [box(-half, 0, half, 1.0, body)]
    if random.random() < 0.5:
        parts.append(box(-half, 0.5, half, 0.7, shade(body, 1.6)))
    return parts


def kiosk(random: np.random.Generator) -> list[Part]:
    """A box with panes on legs, of a vehicle's size and colors: a stall, a shelter, a container."""
    paint = any_color(random)
    half = random.uniform(0.4, 1.3)
    parts = [box(-half, 0.0, half, 1.0, paint)]
    count = int(random.integers(0, 4))
    for number in range(count):
        left = -half + (number + 0.15) * 2 * half / count
        parts.append(box(left, 0.45, left + 1.4 * half / count, 0.85, shade(paint, random.uniform(0.3, 1.5))))
    return parts


def draw_litter(random: np.random.Generator, pen: ImageDraw.ImageDraw, view: View) -> None:
    """Flat patches on the ground and posters on the houses: polygons with power-law sizes."""
    height, width = view.size
    for _ in range(int(random.integers(5, 30))):
        x, y = random.random() * width, random.random() * height
        # Radii with density r^-3, the scale-invariant law of dead leaves.
        radius = height * 0.008 / np.sqrt(1 - random.random() * 0.99)
        flat = 0.3 if y > view.horizon else 1.0
        corners = int(random.integers(3, 9))
        part = ellipse(0, 0, 2.0, 2.0 * flat, any_color(random), corners=corners, turn=random.uniform(0, 6.28))
        pen.polygon(Pose((x, y), radius).place(part.points), fill=part.color)
