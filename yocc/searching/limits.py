"""The limits of a search: what a compiled model may take and lose."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from yocc.errors import OptionError

_MILLISECONDS = re.compile(r"(\d+(?:\.\d+)?)\s*ms")
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([kMG])B")
_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9}
_SMALLEST = 1e-9


@dataclass(frozen=True)
class Measured:
    """What is known of a compiled model; None where it was not measured.

    Attributes:
        latency: time of a run as a share of the original's.
        latency_ms: median time of a run.
        loss: 1 less the fidelity of a detector, or the mAP50-95 lost on labels; for other networks the noise of the
            output that differs most as a share of its signal.
        size: of its files as a share of the original's.
        bytes: of its files.
        memory: that loading and running it takes, as a share of the original's in the same runtime.
        memory_bytes: the same in bytes.
    """

    latency: float | None = None
    latency_ms: float | None = None
    loss: float | None = None
    size: float | None = None
    bytes: int | None = None
    memory: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Limits:
    """What a compiled model may take and lose; None where anything will do.

    Attributes:
        latency: time of a run as a share of the original's.
        latency_ms: the same in milliseconds.
        loss: as in `Measured`.
        size: of its files as a share of the original's.
        bytes: the same in bytes.
        memory: that loading and running it takes, as a share of the original's.
        memory_bytes: the same in bytes.
    """

    latency: float | None = None
    latency_ms: float | None = None
    loss: float | None = None
    size: float | None = None
    bytes: float | None = None
    memory: float | None = None
    memory_bytes: float | None = None

    @property
    def given(self) -> dict[str, float]:
        """Those there are, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def violations(self, found: Measured) -> dict[str, float]:
        """How far each limit is exceeded, as a share of it; 0 or less where it is met. What is unknown is left out."""
        values: Mapping[str, float | None] = vars(found)
        return {
            name: (value - limit) / max(limit, _SMALLEST)
            for name, limit in self.given.items()
            if (value := values[name]) is not None
        }

    def met(self, found: Measured) -> bool:
        """Whether everything that is limited was measured and is within its limit."""
        violations = self.violations(found)
        return len(violations) == len(self.given) and all(each <= 0 for each in violations.values())

    def text(self) -> str:
        """As part of a sentence; empty without limits."""
        return " and ".join(limit_text(name, value) for name, value in self.given.items())


def limit_text(name: str, value: float) -> str:
    """A limit, or a value of its kind, as part of a sentence."""
    return {
        "latency": f"{value:.3g} of the original's time",
        "latency_ms": f"{value:.3g} ms",
        "loss": f"a loss of {value:.3g}",
        "size": f"{value:.3g} of the original's size",
        "bytes": f"{value / 1e6:.3g} MB",
        "memory": f"{value:.3g} of the original's memory",
        "memory_bytes": f"{value / 1e6:.3g} MB of memory",
    }[name]


def read_limits(
    latency: str | float | None = None,
    loss: str | float | None = None,
    size: str | float | None = None,
    memory: str | float | None = None,
) -> Limits:
    """Limits from what a user gives.

    Args:
        latency: a share of the original's time such as 0.4, or a time such as `12ms`.
        loss: from 0 to 1.
        size: a share of the original's size such as 0.25, or a size such as `2MB`.
        memory: the same of the memory that it takes while it runs.

    Raises:
        OptionError: one cannot be read.
    """
    found: dict[str, float] = {}
    if latency is not None:
        match = _MILLISECONDS.fullmatch(str(latency).strip())
        if match is not None:
            found["latency_ms"] = float(match[1])
        else:
            found["latency"] = _share(
                latency, "--max-latency", "Give a share of the original's time such as 0.4, or 12ms."
            )
    if loss is not None:
        found["loss"] = _share(loss, "--max-loss", "Give a number from 0 to 1 such as 0.02.", zero=True)
        if found["loss"] > 1:
            raise OptionError(f"--max-loss cannot be {loss!r}.", "Give a number from 0 to 1 such as 0.02.")
    for given, flag, share, absolute in (
        (size, "--max-size", "size", "bytes"),
        (memory, "--max-memory", "memory", "memory_bytes"),
    ):
        if given is None:
            continue
        match = _BYTES.fullmatch(str(given).strip())
        if match is not None:
            found[absolute] = float(match[1]) * _UNITS[match[2]]
        else:
            found[share] = _share(given, flag, f"Give a share of the original's {share} such as 0.25, or 2MB.")
    return Limits(**found)


def _share(value: str | float, flag: str, hint: str, *, zero: bool = False) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise OptionError(f"{flag} cannot be {value!r}.", hint)
    return number
