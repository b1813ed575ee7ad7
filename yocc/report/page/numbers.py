"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MINUS = "\N{MINUS SIGN}"
SPACE = "\N{NO-BREAK SPACE}"


def real(value: float | str) -> float:
    """A number of a report, which holds NaN and infinity as text.

    Raises:
        ValueError: or TypeError: it is none.
    """
    return float(value)


def amount(count: float) -> str:
    """A count, in thousands, millions or billions where it is large."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g}{SPACE}{unit}"
    return f"{count:g}"


def size(count: int) -> str:
    """Bytes as a file manager shows them."""
    return f"{count / 1e6:.2f}{SPACE}MB" if count >= 10**5 else f"{count / 1e3:.1f}{SPACE}kB"


def milliseconds(value: float) -> str:
    """A latency."""
    return f"{value:.1f}{SPACE}ms" if value >= 10 else f"{value:.2f}{SPACE}ms"


def seconds(value: float) -> str:
    """A duration."""
    if value < 60:
        return f"{value:.1f}{SPACE}s" if value >= 0.1 or value == 0 else f"{value * 1e3:.0f}{SPACE}ms"
    return f"{int(value) // 60}{SPACE}min {int(value) % 60}{SPACE}s"


def share(value: float) -> str:
    """A share in percent; one that is not zero never reads as zero."""
    if 0 < value < 0.001:
        return f"<{SPACE}0.1{SPACE}%"
    return f"{value:.1%}".replace("%", f"{SPACE}%")


def change(before: float, after: float) -> str:
    """Relative change in percent with its sign."""
    if not before:
        return ""
    relative = after / before - 1
    return f"{_sign(relative, 0.0005)}{abs(relative):.1%}".replace("%", f"{SPACE}%")


def difference(before: float, after: float) -> str:
    """Absolute change with its sign, three decimals."""
    return f"{_sign(after - before, 0.0005)}{abs(after - before):.3f}"


def plain_number(value: float) -> str:
    """Four significant digits with a proper minus."""
    return f"{value:.4g}".replace("-", MINUS)


def float_types(timing: Mapping[str, Any]) -> str:
    """In which types both models computed floats, where that differs; empty where it does not."""
    original, compiled = (timing[which].get("precision", "f32") for which in ("baseline", "candidate"))
    return "" if original == compiled else f"floats of the original in {original}, of the compiled model in {compiled}"


def _sign(value: float, smallest: float) -> str:
    if abs(value) < smallest:
        return "±"
    return "+" if value > 0 else MINUS
