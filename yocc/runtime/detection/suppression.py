"""Greedy non-maximum suppression, blockwise so that numpy does the work."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 256


def suppress(
    boxes: NDArray[np.floating[Any]], classes: NDArray[np.integer[Any]], overlap: float, most: int
) -> NDArray[np.int64]:
    """Keep a box unless it overlaps a kept, better box of its class by more than `overlap`.

    Args:
        boxes: `[n, 4]` x1, y1, x2, y2, the best first.
        classes: `[n]` class numbers.
        overlap: intersection over union, 0..1.
        most: stop after this many boxes.

    Returns:
        Indices of the kept boxes, ascending, `most` at most.
    """
    kept = np.empty(0, np.int64)
    for start in range(0, len(boxes), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(boxes)))
        # Kept boxes rule out many of the block at once; only the rest must be compared among themselves.
        block = block[~_clash(boxes, classes, kept, block, overlap).any(axis=0)]
        alive = np.ones(len(block), bool)
        clashes = np.triu(_clash(boxes, classes, block, block, overlap), 1)
        for place in np.flatnonzero(clashes.any(axis=1)):
            if alive[place]:
                alive &= ~clashes[place]
        kept = np.concatenate([kept, block[alive]])
        if len(kept) >= most:
            break
    return kept[:most]


def intersection_over_union(
    ones: NDArray[np.floating[Any]], others: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    """Overlaps `[n, m]` of boxes `[n, 4]` with boxes `[m, 4]`, x1, y1, x2, y2; 0 where both are empty."""
    shared = _extent(
        np.minimum(ones[:, None, 2:], others[None, :, 2:]) - np.maximum(ones[:, None, :2], others[None, :, :2])
    )
    union = _extent(ones[:, 2:] - ones[:, :2])[:, None] + _extent(others[:, 2:] - others[:, :2])[None] - shared
    ratio: NDArray[np.floating[Any]] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def _clash(
    boxes: NDArray[np.floating[Any]],
    classes: NDArray[np.integer[Any]],
    ones: NDArray[np.int64],
    others: NDArray[np.int64],
    overlap: float,
) -> NDArray[np.bool_]:
    same = classes[ones][:, None] == classes[others][None]
    clash: NDArray[np.bool_] = same & (intersection_over_union(boxes[ones], boxes[others]) > overlap)
    return clash


def _extent(sides: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    result: NDArray[np.floating[Any]] = np.maximum(sides[..., 0], 0) * np.maximum(sides[..., 1], 0)
    return result
