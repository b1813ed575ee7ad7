"""Which elements a Resize to the nearest neighbor takes, as ONNX defines it."""

from __future__ import annotations

import math


def taken(before: int, after: int, coordinates: str, rounding: str, scale: float | None = None) -> list[int]:
    """Elements taken along one axis.

    Args:
        before: size of the axis.
        after: its size in the result.
        coordinates: the attribute `coordinate_transformation_mode`.
        rounding: the attribute `nearest_mode`.
        scale: the factor the node states; `after / before` if it states sizes.
    """
    factor = after / before if scale is None else scale
    places = (_rounded(position(place, before, after, coordinates, factor), rounding) for place in range(after))
    return [min(max(place, 0), before - 1) for place in places]


def position(place: int, before: int, after: int, coordinates: str, scale: float) -> float:
    """Where along the axis an element of the result lies."""
    if coordinates == "asymmetric":
        return place / scale
    if coordinates == "align_corners":
        return place * (before - 1) / (after - 1) if after > 1 else 0.0
    if coordinates == "pytorch_half_pixel" and after == 1:
        return 0.0
    if coordinates == "half_pixel_symmetric":
        adjusted = after / (scale * before)
        return before / 2 * (1 - adjusted) + (place + 0.5) / scale - 0.5
    return (place + 0.5) / scale - (0.0 if coordinates == "tf_half_pixel_for_nn" else 0.5)


def _rounded(where: float, rounding: str) -> int:
    if rounding == "floor":
        return math.floor(where)
    if rounding == "ceil":
        return math.ceil(where)
    return math.ceil(where - 0.5) if rounding == "round_prefer_floor" else math.floor(where + 0.5)
