"""The layouts that several families share: decoding them, and which of their channels hold what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Decoded = tuple[Floats, Floats]
"""Boxes [n, 4] as cx, cy, w, h in pixels of the network's input, and class scores [n, C] in 0..1."""


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
