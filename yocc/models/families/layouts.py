"""The layouts that several families share: decoding them, and which of their channels hold what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Decoded = tuple[Floats, Floats]
"""Boxes [n, 4] as cx, cy, w, h in pixels of the network's input, and class scores [n, C] in 0..1."""
_LARGEST_PART = 4.0
"""Boxes may exceed the picture, but not as far as this."""


@dataclass(frozen=True)
class Channels:
    """Which channels of an output hold boxes and scores.

    Attributes:
        axis: where the channels lie.
        groups: a label and the channel numbers of each group.
    """

    axis: int
    groups: tuple[tuple[str, tuple[int, ...]], ...]


def decode_rows(rows: NDArray[Any], confidence: float) -> Decoded:
    """Candidates of rows [N, 5+C] whose objectness is above `confidence`; a score is objectness times class."""
    rows = rows[rows[:, 4] > confidence]
    return rows[:, :4], rows[:, 5:] * rows[:, 4:5]


def decode_columns(columns: NDArray[Any], confidence: float) -> Decoded:
    """Candidates of columns [4+C, N] with a class above `confidence`."""
    columns = columns[:, columns[4:].max(axis=0) > confidence]
    return columns[:4].T, columns[4:].T


def split_channels(count: int, classes: int, axis: int, *, objectness: bool) -> Channels:
    """Boxes, objectness where there is one, and classes, repeated for each anchor.

    Args:
        count: number of channels.
        classes: number of classes.
        axis: where the channels lie.
        objectness: whether there is a score for being an object before those of the classes.
    """
    bounds = [("boxes", 0, 4), ("objectness", 4, 5)] if objectness else [("boxes", 0, 4)]
    first = bounds[-1][2]
    bounds.append(("classes", first, first + classes))
    width = first + classes
    return Channels(
        axis,
        tuple(
            (label, tuple(channel for channel in range(count) if low <= channel % width < high))
            for label, low, high in bounds
        ),
    )


def sigmoid(values: Floats) -> Floats:
    """The logistic function."""
    # Beyond 80 the result no longer changes, and exp would overflow with a warning.
    one = np.float32(1)
    result: Floats = one / (one + np.exp(-np.clip(values, -80, 80)))
    return result


def cell_grid(size: tuple[int, int], strides: Sequence[int], per_cell: int = 1) -> tuple[Floats, Floats]:
    """Column and row of each candidate [N, 2] and its stride [N, 1]: finest grid first, row by row.

    Args:
        size: height and width of the input in pixels.
        strides: input pixels per cell of each grid.
        per_cell: candidates of a cell, which follow each other.
    """
    height, width = size
    corners, steps = [], []
    for stride in strides:
        rows, columns = np.meshgrid(np.arange(-(-height // stride)), np.arange(-(-width // stride)), indexing="ij")
        corners.append(np.stack([columns.reshape(-1), rows.reshape(-1)], axis=1).repeat(per_cell, axis=0))
        steps.append(np.full((rows.size * per_cell, 1), stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(steps).astype(np.float32)


def mean_distances(logits: Floats) -> Floats:
    """Left, top, right and bottom [4, n] in cells, each the mean of a distribution over bins, from [4 * bins, n].

    Li et al. 2020, "Generalized Focal Loss", equation 5.
    """
    values = logits.reshape(4, len(logits) // 4, logits.shape[1])
    weights = np.exp(values - values.max(axis=1, keepdims=True))
    bins = np.arange(values.shape[1], dtype=np.float32)[:, None]
    means: Floats = (weights * bins).sum(axis=1) / weights.sum(axis=1)
    return means


def boxes_around(points: Floats, distances: Floats) -> Floats:
    """Boxes [n, 4] as cx, cy, w, h from points [n, 2] and distances left, top, right, bottom [4, n] in one unit."""
    left, top, right, bottom = distances
    return np.stack(
        [points[:, 0] + (right - left) / 2, points[:, 1] + (bottom - top) / 2, left + right, top + bottom], axis=1
    ).astype(np.float32)


def to_pixels(boxes: Floats, size: tuple[int, int]) -> Floats:
    """Boxes [n, 4] of two pairs x and y in pixels, from parts 0..1 of an input of this height and width."""
    height, width = size
    return boxes * np.array([width, height] * 2, np.float32)


def pixels_of(boxes: Floats, size: tuple[int, int]) -> Floats:
    """The same from parts or from pixels: where all coordinates are small they are parts."""
    return to_pixels(boxes, size) if np.abs(boxes).max(initial=0.0) < _LARGEST_PART else boxes


def boxes_between(corners: Floats) -> Floats:
    """Boxes [n, 4] as cx, cy, w, h from x1, y1, x2, y2."""
    return np.concatenate([(corners[:, :2] + corners[:, 2:4]) / 2, corners[:, 2:4] - corners[:, :2]], axis=1)
