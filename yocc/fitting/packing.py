"""Packing codes of 2 to 8 bits into bytes without gaps, as planes of 4, 2 and 1 bits.

A plane's width divides 8, so a byte holds whole codes and one table of 256 rows unpacks it. Runtimes without types
below 8 bits can do that by a Gather.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def plane_widths(bits: int) -> tuple[int, ...]:
    """Widths of the planes for codes of this many bits, the most significant first."""
    return tuple(width for width in (8, 4, 2, 1) if bits & width)


def pack(codes: Array, bits: int) -> list[Array]:
    """Pack codes.

    Args:
        codes: uint8, any shape, each below 2^bits.
        bits: of one code.

    Returns:
        For each plane its bytes, the first code in the lowest bits; the last byte is filled with zeros.
    """
    flat = codes.reshape(-1)
    planes = []
    left = bits
    for width in plane_widths(bits):
        left -= width
        each = 8 // width
        part = (flat >> left) & ((1 << width) - 1)
        padded = np.zeros(-(-flat.size // each) * each, dtype=np.uint8)
        padded[: flat.size] = part
        shifts = np.arange(each, dtype=np.uint8) * width
        planes.append(np.bitwise_or.reduce(padded.reshape(-1, each) << shifts, axis=1).astype(np.uint8))
    return planes


def unpack(planes: list[Array], bits: int, count: int) -> Array:
    """The first `count` codes, uint8, shape [count]."""
    codes = np.zeros(count, dtype=np.uint8)
    left = bits
    for width, plane in zip(plane_widths(bits), planes, strict=True):
        left -= width
        codes |= (byte_table(width)[plane].reshape(-1)[:count] << left).astype(np.uint8)
    return codes


def byte_table(width: int) -> Array:
    """The codes in each byte: shape [256, 8 / width], uint8."""
    shifts = np.arange(8 // width, dtype=np.uint8) * width
    return ((np.arange(256, dtype=np.uint8)[:, None] >> shifts) & ((1 << width) - 1)).astype(np.uint8)
