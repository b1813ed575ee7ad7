"""Time that long passes may take, which users give as text such as `30m`."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass, field

from yocc.errors import OptionError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh])")


@dataclass(frozen=True)
class Deadline:
    """When to be done, counted from when it was made; without seconds there is none.

    Attributes:
        seconds: from the start to the end.
        started: reading of the monotonic clock.
    """

    seconds: float = math.inf
    started: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds that are left, never negative; infinity without a deadline."""
        return max(0.0, self.started + self.seconds - time.monotonic())


def read_duration(text: str) -> float:
    """Seconds in a text such as `90s`, `30m` or `2h`.

    Raises:
        OptionError: it is no positive duration.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not seconds:
        raise OptionError(f"{text!r} is not a duration.", "Write it like 90s, 30m or 2h.")
    return seconds
