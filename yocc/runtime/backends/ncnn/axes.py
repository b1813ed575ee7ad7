"""How the axes of a tensor lie in a blob, which has at most four."""

from __future__ import annotations

from collections.abc import Sequence

MOST_AXES = 4
"""Axes a blob can have: width, height, depth, channels."""


def blob_axes(shape: Sequence[int]) -> tuple[int, ...] | None:
    """Axes of a tensor that its blob has: all but a first of size 1, the batch, and further ones of size 1 if many.

    Returns:
        Their numbers, outermost first; None if more than four are left.
    """
    axes = list(range(len(shape)))
    if len(axes) > 1 and shape[0] == 1:
        axes.pop(0)
    while len(axes) > MOST_AXES:
        single = next((axis for axis in axes if shape[axis] == 1), None)
        if single is None:
            return None
        axes.remove(single)
    return tuple(axes)


def blob_sizes(shape: Sequence[int]) -> tuple[int, ...]:
    """Sizes of the blob of a tensor that has one; a scalar's has one element."""
    return tuple(int(shape[axis]) for axis in blob_axes(shape) or ()) or (1,)
