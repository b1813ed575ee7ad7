"""Quantized activations: what calibration saw of them, how they are quantized, what that loses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yocc.report.page.charts import Chart, Histogram, Place, bar_chart, histogram
from yocc.report.page.details import all_details, has
from yocc.report.page.numbers import plain_number, real, share

_KEYS = ("low", "high", "quantized", "scale", "zero_point", "clipped", "sqnr_db", "behind", "histogram")
_LOUD = 25.0
"""Decibels below which a tensor stands out; 8 bits over a range that fits give 35 to 45."""


@dataclass(frozen=True)
class TensorRow:
    """A quantized activation as the table shows it."""

    anchor: str
    name: str
    seen: str
    quantized: str
    scale: str
    zero_point: str
    clipped: str
    noise: str
    behind: str
    loud: bool
    histogram: Histogram | None
    text: str


@dataclass(frozen=True)
class TensorView:
    """Everything the page says of quantized activations, the noisiest first."""

    rows: tuple[TensorRow, ...]
    noise: Chart
    data: str


def tensor_view(content: Mapping[str, Any]) -> TensorView | None:
    """Rows and a chart; None when nothing was quantized, or the report does not say how."""
    for details in all_details(content):
        tensors = details.get("tensors")
        if isinstance(tensors, Mapping) and tensors and all(has(tensor, _KEYS) for tensor in tensors.values()):
            rows = [_row(number, name, tensor) for number, (name, tensor) in enumerate(tensors.items())]
            noises = [_decibels(tensor) for tensor in tensors.values()]
            # NaN has no place in an order; it is as loud as can be.
            order = sorted(range(len(rows)), key=lambda number: (not math.isnan(noises[number]), noises[number]))
            places = [
                Place(0.0, min(_decibels(tensor), 96.0), row.anchor, f"{row.name}: {row.noise}; {row.text}", row.loud)
                for row, tensor in zip(rows, tensors.values(), strict=True)
            ]
            chart = bar_chart("noise", "Signal to quantization noise of each quantized activation, in decibels", places)
            return TensorView(tuple(rows[number] for number in order), chart, str(details.get("calibration", "")))
    return None


def _decibels(tensor: Mapping[str, Any]) -> float:
    value = tensor["sqnr_db"]
    return math.inf if value is None else real(value)


def _row(number: int, name: str, tensor: Mapping[str, Any]) -> TensorRow:
    low, high = real(tensor["low"]), real(tensor["high"])
    bounds = [real(bound) for bound in tensor["quantized"]]
    noise = None if tensor["sqnr_db"] is None else real(tensor["sqnr_db"])
    seen = f"{plain_number(low)} … {plain_number(high)}"
    quantized = " … ".join(plain_number(bound) for bound in bounds)
    clipped = share(real(tensor["clipped"]))
    return TensorRow(
        f"tensor-{number}",
        name,
        seen,
        quantized,
        plain_number(real(tensor["scale"])),
        plain_number(real(tensor["zero_point"])),
        clipped,
        "lossless" if noise is None else f"{noise:.1f} dB",
        tensor["behind"],
        noise is not None and not noise >= _LOUD,
        histogram(tensor["histogram"], low, high, bounds)
        if tensor["histogram"] and all(map(math.isfinite, (low, high, *bounds)))
        else None,
        f"seen {seen}, quantized {quantized}, {clipped} clipped",
    )
