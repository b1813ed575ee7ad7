"""Decoding heads that give the distances from a cell to the edges of a box, as YOLOv8 does."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_SIDES = 4


def pair_heads(
    sizes: Mapping[str, tuple[int, ...]], strides: Sequence[int], classes: int
) -> list[list[tuple[str, str]]]:
    """Ways to pair the last convolutions into boxes and scores of each stride.

    Args:
        sizes: shape [1, channels, h, w] of each last convolution's output.
        strides: ascending.
        classes: number of classes.

    Returns:
        For each way, a pair of names for each stride: bins of the distances, and class scores. There are several ways
        where the bins are as many as the classes; none where the convolutions are not two for each stride.
    """
    maps = sorted({size[2:] for size in sizes.values()}, key=lambda size: -int(np.prod(size)))
    levels = [sorted(name for name, size in sizes.items() if size[2:] == one) for one in maps]
    if len(levels) != len(strides) or any(len(level) != 2 for level in levels):
        return []
    ways = itertools.product(*([(one, other), (other, one)] for one, other in levels))
    return [list(way) for way in ways if _fits(way, sizes, classes)]


def _fits(way: Sequence[tuple[str, str]], sizes: Mapping[str, tuple[int, ...]], classes: int) -> bool:
    bins = {sizes[boxes][1] for boxes, _ in way}
    return len(bins) == 1 and bins.pop() % _SIDES == 0 and all(sizes[scores][1] == classes for _, scores in way)


def decode_columns(outputs: Sequence[Array], decode: Mapping[str, Any]) -> Array:
    """Columns `cx, cy, w, h, classes` from raw heads, as YOLOv8 does.

    Each distance left, top, right and bottom is the mean of a distribution over `reg_max` bins (Li et al. 2020,
    "Generalized Focal Loss", equation 5), in cells, from the cell's centre.

    Args:
        outputs: for each head bins [4 * reg_max, h, w], then scores [classes, h, w].
        decode: what `decode.json` holds.

    Returns:
        Shape [1, 4 + classes, N], boxes in pixels of the network's input.
    """
    bins = np.arange(decode["reg_max"], dtype=np.float32)[:, None, None]
    parts = []
    for boxes, scores, facts in zip(outputs[::2], outputs[1::2], decode["heads"], strict=True):
        height, width = boxes.shape[1:]
        values = boxes.reshape(_SIDES, -1, height, width)
        weights = np.exp(values - values.max(axis=1, keepdims=True))
        left, top, right, bottom = (weights * bins).sum(axis=1) / weights.sum(axis=1)
        rows, columns = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
        centres = np.stack([columns + (right - left) / 2, rows + (bottom - top) / 2])
        extents = np.stack([left + right, top + bottom])
        logits = np.clip(scores, -80, 80)
        found = np.concatenate([centres * facts["stride"], extents * facts["stride"], 1 / (1 + np.exp(-logits))])
        parts.append(found.reshape(len(found), -1))
    return np.concatenate(parts, axis=1).astype(np.float32)[None]
