"""What quantizing a tensor does to the network's outputs, by the value that is quantized: from a few backward passes.

With v the gradient of the outputs by a tensor, the outputs weighed by what they matter and given random signs, an error
e of the tensor costs the mean of (v'e)^2 (see `yocc.analysis.effect`). Rounding errors are independent, so that squares
of v say what they cost; what is cut off all points the same way, so that v is summed first. Sums for each bin of
values are all that is needed to price any range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.effect import probes
from yocc.analysis.gradients import gradient_graph
from yocc.analysis.heads import final_layers
from yocc.analysis.observers import Transfer, narrowed
from yocc.analysis.pictures import evenly
from yocc.analysis.statistics import TensorStatistics
from yocc.compiler.graph import Graph
from yocc.compiler.graph.gates import gated
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.compiler.pipeline.target import TensorScheme
from yocc.passes.quantize.placement import Placement

Array = np.ndarray[Any, Any]
PICTURES = 16
BINS = 512
"""Bins on each side of zero."""
_POSITIONS = 2**17
"""Values of a tensor looked at for each picture, at most; of larger ones every second or third row and column."""
_CUTS = 32
"""Candidate bounds on each side."""
CLIPPING = 3.0
"""How much more cutting off counts than is measured: what is rare enough to be cut off is seen on few pictures."""


@dataclass(frozen=True)
class Influence:
    """What errors of one tensor's values do to the outputs.

    Attributes:
        exponent: bins are 2^exponent wide, bin i starting at (i - BINS) * 2^exponent.
        squares: sum over values of squared gradients, averaged over pictures, shape [2 * BINS].
        sums: sum over values of gradients, shape [pictures, 2 * BINS].
    """

    exponent: int
    squares: Array
    sums: Array


def influences(
    graph: Graph,
    placement: Placement,
    statistics: Mapping[str, TensorStatistics],
    feeds: Feeds,
    shapes: Shapes,
    ctx: PassContext,
) -> dict[str, Influence]:
    """The influence of each quantized tensor that the last layers depend on.

    Args:
        graph: the float graph; not changed.
        placement: what is quantized.
        statistics: of those tensors.
        feeds: pictures; up to `PICTURES` of them, evenly spaced, are used.
        shapes: the graph's concrete shapes.
        ctx: runs the model, knows what the outputs mean.

    Raises:
        PassError: the gradient of an operator on the way is not known.
    """
    tensors = graph.tensors()
    seen = {name: _read_at(tensors[name]) for group in placement.groups for name in group}
    sources = [node.outputs[0].name for node in final_layers(graph)]
    made = gradient_graph(graph, shapes, sources, seen.values())
    own = made.graph.tensors()
    taken: dict[str, tuple[gs.Tensor, gs.Tensor, int]] = {}
    for name, behind in seen.items():
        if behind in made.gradients:
            stride = _stride(shapes.shapes.get(name, ()))
            taken[name] = (*(_thinned(made.builder, t, stride) for t in (own[name], made.gradients[behind])), stride)
    outputs = {tensor.name: tensor for pair in taken.values() for tensor in pair[:2]}
    forward, backward = run_until(graph, sources, ctx), made.runner(list(outputs.values()), ctx)
    random = ctx.random()
    pictures = evenly(feeds, PICTURES)
    found = {name: _Sums(_exponent(statistics[name])) for name in taken}
    for arrays in ctx.progress(pictures, "influences", len(pictures)):
        answers = forward(arrays)
        seeds = probes(made, {name: answers[name] for name in sources}, ctx, random, by_probability=True)
        values = backward({**arrays, **seeds})
        for name, (value, gradient, stride) in taken.items():
            found[name].add(values[value.name], values[gradient.name], stride**2)
    return {name: sums.influence() for name, sums in found.items()}


def narrow(
    members: Mapping[str, tuple[Influence, Transfer]],
    statistics: TensorStatistics,
    scheme: TensorScheme,
) -> tuple[float, float]:
    """The range for tensors of one scale that costs least in the outputs, found by narrowing both ends in turn.

    Args:
        members: influence of each tensor, and what the network does next with it.
        statistics: of all of them together.
        scheme: how they are quantized.
    """
    low, high = min(statistics.low, 0.0), max(statistics.high, 0.0)
    parts = [_Part.of(influence, transfer, low, high) for influence, transfer in members.values()]
    codes = scheme.highest - scheme.lowest

    def cost(low: float, high: float) -> float:
        noise = ((high - low) / codes) ** 2 / 12
        return math.fsum(part.cost(low, high, noise) for part in parts) if noise > 0 else math.inf

    return narrowed(low, high, scheme, cost, cuts=_CUTS)


@dataclass(frozen=True)
class _Part:
    """One tensor's influence in bins that hold something: centres, what follows makes of them, and its slope there."""

    values: Array
    wanted: Array
    slopes: Array
    squares: Array
    sums: Array
    transfer: Transfer

    @classmethod
    def of(cls, influence: Influence, transfer: Transfer, low: float, high: float) -> _Part:
        used = np.flatnonzero(influence.squares)
        centres = np.ldexp(np.arange(-BINS, BINS) + 0.5, influence.exponent)[used]
        values = np.clip(centres, low, high)
        slopes = (transfer(values + 1e-3) - transfer(values - 1e-3)) / 2e-3
        return cls(
            values, transfer(values), np.square(slopes), influence.squares[used], influence.sums[:, used], transfer
        )

    def cost(self, low: float, high: float, noise: float) -> float:
        """Of quantizing in a range, with the mean square of a rounding error."""
        cut = (self.values < low) | (self.values > high)
        rounded = float(self.squares[~cut] @ self.slopes[~cut]) * noise
        if not cut.any():
            return rounded
        missing = self.transfer(np.clip(self.values[cut], low, high)) - self.wanted[cut]
        return rounded + CLIPPING * float(np.mean(np.square(self.sums[:, cut] @ missing)))


class _Sums:
    """Sums over one tensor's values by their bin."""

    def __init__(self, exponent: int) -> None:
        self.exponent = exponent
        self.squares: Array = np.zeros(2 * BINS)
        self.sums: list[Array] = []

    def add(self, values: Array, gradients: Array, weight: int) -> None:
        """Take in one picture, of which each value stands for `weight`."""
        bins = np.floor(values.reshape(-1) * np.float32(2.0**-self.exponent)).astype(np.int32)
        bins = np.clip(bins + BINS, 0, 2 * BINS - 1)
        flat = gradients.reshape(-1).astype(np.float64)
        self.squares += weight * np.bincount(bins, np.square(flat), 2 * BINS)
        self.sums.append(weight * np.bincount(bins, flat, 2 * BINS))

    def influence(self) -> Influence:
        return Influence(self.exponent, self.squares / max(1, len(self.sums)), np.array(self.sums))


def _exponent(statistics: TensorStatistics) -> int:
    """Of bins that reach as far as those of the statistics."""
    return max(-100, statistics.exponent + int(math.log2(len(statistics.counts) // (2 * BINS))))


def _read_at(tensor: gs.Tensor) -> str:
    """The tensor whose gradient says what an error matters: behind the SiLU, where one follows."""
    product = gated(tensor)
    read = tensor if product is None else product.outputs[0]
    return str(read.name)


def _stride(shape: tuple[int, ...]) -> int:
    if len(shape) != 4:
        return 1
    return max(1, math.ceil(math.sqrt(math.prod(shape) / _POSITIONS)))


def _thinned(builder: Any, tensor: gs.Tensor, stride: int) -> gs.Tensor:
    """Each so many rows and columns of a tensor [n, channels, height, width]."""
    if stride == 1:
        return tensor
    return builder.emit("Slice", tensor, starts=[0, 0], ends=[2**62] * 2, axes=[2, 3], steps=[stride] * 2)
