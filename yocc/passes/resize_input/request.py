"""What is asked of the input: a side, or height and width, and a batch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from yocc.errors import OptionError

OPEN = "n"
"""A batch that stays open."""
LARGEST_SIDE = 2**14
"""Pixels."""
_MOST = 2**12
_SIZE = re.compile(r"(\d{1,6})(?:x(\d{1,6}))?")


@dataclass(frozen=True)
class Request:
    """What the input is to be.

    Attributes:
        size: height and width in pixels; None to leave them.
        batch: pictures in a run, `n` for any number; None to leave it.
    """

    size: tuple[int, int] | None = None
    batch: int | str | None = None


def read_request(size: str, batch: str) -> Request:
    """Read what a user asks for.

    Args:
        size: a side such as `480`, or height and width such as `384x640`; empty to leave them.
        batch: a number, or `n` for an open batch; empty to leave it.

    Raises:
        OptionError: one is neither.
    """
    return Request(_read_size(size) if size else None, _read_batch(batch) if batch else None)


def _read_size(text: str) -> tuple[int, int]:
    found = _SIZE.fullmatch(text.lower())
    sides = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not all(0 < side <= LARGEST_SIDE for side in sides):
        raise OptionError(
            f"The input size cannot be {text!r}.",
            f"Give a side such as 480, or height x width such as 384x640, up to {LARGEST_SIDE} pixels.",
        )
    return sides


def _read_batch(text: str) -> int | str:
    if text.lower() == OPEN:
        return OPEN
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MOST):
        raise OptionError(f"The batch cannot be {text!r}.", f"Give a number up to {_MOST}, or n for an open batch.")
    return int(text)
