"""What the report says of quantization: ranges, histograms and errors, tensor by tensor and layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from yocc.analysis.observers import Transfer
from yocc.analysis.quant_params import QuantParams
from yocc.analysis.statistics import TensorStatistics
from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import constant_behind
from yocc.compiler.pipeline.target import TensorScheme

Array = np.ndarray[Any, Any]
BINS = 32
"""Bins of a histogram in the report."""


def tensor_figures(
    statistics: TensorStatistics, params: QuantParams, scheme: TensorScheme, transfer: Transfer, behind: str
) -> dict[str, Any]:
    """Figures of one activation.

    Args:
        statistics: what calibration saw of it.
        params: how it is quantized.
        scheme: bits and signedness of the integers.
        transfer: what the network does next with a value; the error is measured behind it.
        behind: the name of that, empty for nothing.

    Returns:
        `low` and `high` seen; `quantized`, the range after quantization; `scale` and `zero_point`; `clipped`, the
        share of the values outside that range; `sqnr_db`, signal to quantization noise, None when nothing is lost;
        `behind`; `histogram`, counts in 32 equal bins from `low` to `high`.
    """
    scale, zero_point = float(params.scale), int(params.zero_point)
    quantized = [scale * (code - zero_point) for code in (scheme.lowest, scheme.highest)]
    seen = np.flatnonzero(statistics.counts)
    # A bin's middle may lie beyond the extremes, which are exact.
    values = np.clip(statistics.centres[seen], statistics.low, statistics.high)
    counts = statistics.counts[seen].astype(np.float64)
    outside = (values < quantized[0] - scale / 2) | (values > quantized[1] + scale / 2)
    return {
        "low": _short(statistics.low),
        "high": _short(statistics.high),
        "quantized": [_short(bound) for bound in quantized],
        "scale": float(f"{scale:.9g}"),
        "zero_point": zero_point,
        "clipped": _short(float(counts @ outside) / max(1.0, float(counts.sum()))),
        "sqnr_db": _decibels(
            transfer(values), transfer(scale * (params.quantize(values, scheme) - float(zero_point))), counts
        ),
        "behind": behind,
        "histogram": _histogram(values, statistics.counts[seen], statistics.low, statistics.high),
    }


def layer_figures(
    graph: Graph,
    weights: Mapping[tuple[str, int], QuantParams],
    tensors: Mapping[str, Mapping[str, Any]],
    scheme: TensorScheme,
) -> dict[str, dict[str, Any]]:
    """Figures of each quantized layer of a graph whose weights are still float.

    Returns:
        By layer: `weight_sqnr_db`, signal to quantization noise of its weight; `scales`, how many it has;
        `input_sqnr_db`, that of the activation it reads, None where that is not quantized.
    """
    nodes = {node.name: node for node in graph.nodes}
    found = {}
    for (name, slot), params in weights.items():
        constant = constant_behind(nodes[name], slot)
        if constant is None:
            continue
        weight = constant.values.astype(np.float64)
        codes = params.quantize(constant.values, scheme).astype(np.float64)
        shape = [-1 if axis == params.axis else 1 for axis in range(weight.ndim)]
        scale, zero_point = (part.astype(np.float64) for part in (params.scale, params.zero_point))
        if params.axis is not None:
            scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
        found[name] = {
            "weight_sqnr_db": _decibels(weight, (codes - zero_point) * scale, np.ones(weight.shape)),
            "scales": int(params.scale.size),
            "input_sqnr_db": tensors.get(nodes[name].inputs[0].name, {}).get("sqnr_db"),
        }
    return found


def _histogram(values: Array, counts: Array, low: float, high: float) -> list[int]:
    if not len(values):
        return []
    width = (high - low) / BINS
    bins = np.zeros(len(values), np.int64) if width <= 0 else np.floor((values - low) / width).astype(np.int64)
    sums = np.bincount(np.clip(bins, 0, BINS - 1), weights=counts, minlength=BINS)
    return [int(count) for count in sums]


def _decibels(exact: Array, quantized: Array, counts: Array) -> float | None:
    signal = float(np.sum(counts * np.square(exact)))
    noise = float(np.sum(counts * np.square(exact - quantized)))
    if noise <= 0 or signal <= 0:
        return None
    return round(10 * math.log10(signal / noise), 2)


def _short(value: float) -> float:
    return float(f"{value:.5g}")
