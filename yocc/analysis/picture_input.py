"""Which input of a graph takes pictures, and which of its axes are height and width."""

from __future__ import annotations

_CHANNELS = (1, 3)


def picture_axes(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Which axes of an input are height and width; None where it takes no pictures of 1 or 3 channels."""
    if len(shape) != 4:
        return None
    return (2, 3) if shape[1] in _CHANNELS else (1, 2) if shape[3] in _CHANNELS else None
