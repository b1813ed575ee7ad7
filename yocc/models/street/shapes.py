"""Flat colored parts in an object's own coordinates, and how they are placed into a picture.

An object stands on the origin: x to the right, y upwards, one unit is its nominal height.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Part:
    """A filled polygon.

    Attributes:
        points: `[n, 2]` x and y.
        color: RGB, 0..255.
    """

    points: Points
    color: Color


@dataclass(frozen=True)
class Pose:
    """Where an object stands in a picture and how it is seen.

    Attributes:
        foot: x and y in pixels of the point it stands on, y downwards.
        height: pixels of its nominal height.
        stretch: factor on its width, negative for a mirrored object.
        turn: angle in the picture plane in radians.
        shear: x gained per unit of height.
    """

    foot: tuple[float, float]
    height: float
    stretch: float = 1.0
    turn: float = 0.0
    shear: float = 0.0

    def place(self, points: Points) -> list[float]:
        """Object coordinates as x, y, x, y, ... in pixels."""
        x = (points[:, 0] * self.stretch + points[:, 1] * self.shear) * self.height
        y = points[:, 1] * self.height
        cosine, sine = np.cos(self.turn), np.sin(self.turn)
        placed = np.empty(points.shape)
        placed[:, 0] = cosine * x - sine * y + self.foot[0]
        placed[:, 1] = -sine * x - cosine * y + self.foot[1]
        flat: list[float] = placed.ravel().tolist()
        return flat


def box(left: float, bottom: float, right: float, top: float, color: Color) -> Part:
    """An upright rectangle."""
    return Part(np.array([[left, bottom], [right, bottom], [right, top], [left, top]], np.float64), color)


def polygon(points: Sequence[tuple[float, float]], color: Color) -> Part:
    """Any polygon."""
    return Part(np.array(points, np.float64), color)


def ellipse(
    x: float, y: float, width: float, height: float, color: Color, *, corners: int = 16, turn: float = 0.0
) -> Part:
    """An ellipse of the given full width and height, or with few `corners` a regular polygon."""
    angles = turn + 2 * np.pi * np.arange(corners) / corners
    return Part(np.stack([x + width / 2 * np.cos(angles), y + height / 2 * np.sin(angles)], axis=1), color)


def bar(start: tuple[float, float], end: tuple[float, float], width: float, color: Color) -> Part:
    """A straight stroke."""
    first, last = np.array(start), np.array(end)
    along = (last - first) / max(float(np.hypot(*(last - first))), 1e-9)
    across = np.array([-along[1], along[0]]) * width / 2
    return Part(np.stack([first + across, last + across, last - across, first - across]), color)


def shade(color: Color, factor: float) -> Color:
    """The color times a factor, within 0..255."""
    red, green, blue = (min(255, max(0, round(value * factor))) for value in color)
    return red, green, blue
