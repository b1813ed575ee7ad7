"""Decoding heads that give the distances from a cell to the edges of a box, as YOLOv8 does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_SIDES = 4


def decode_columns(outputs: Sequence[Array], decode: Mapping[str, Any]) -> Array:
    """Columns `cx, cy, w, h, classes` from raw heads, as YOLOv8 does.

    Each distance left, top, right and bottom is the mean of a distribution over bins (Li et al. 2020,
    "Generalized Focal Loss", equation 5), in cells, from the cell's centre.

    Args:
        outputs: for each head values [4 * bins, h, w], then scores [classes, h, w].
        decode: strides of the heads.

    Returns:
        Shape [1, 4 + classes, N], boxes in pixels of the network's input.
    """
    parts = []
    for boxes, scores, stride in zip(outputs[::2], outputs[1::2], decode["strides"], strict=True):
        height, width = boxes.shape[1:]
        values = boxes.reshape(_SIDES, -1, height, width)
        bins = np.arange(values.shape[1], dtype=np.float32)[:, None, None]
        weights = np.exp(values - values.max(axis=1, keepdims=True))
        left, top, right, bottom = (weights * bins).sum(axis=1) / weights.sum(axis=1)
        rows, columns = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
        centres = np.stack([columns + (right - left) / 2, rows + (bottom - top) / 2])
        extents = np.stack([left + right, top + bottom])
        logits = np.clip(scores, -80, 80)
        found = np.concatenate([centres * stride, extents * stride, 1 / (1 + np.exp(-logits))])
        parts.append(found.reshape(len(found), -1))
    return np.concatenate(parts, axis=1).astype(np.float32)[None]
