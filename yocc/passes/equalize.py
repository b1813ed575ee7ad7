"""Cross-layer equalization: moving the size of channels from one layer to the next where that changes nothing else.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV 2019), section 4.1: between
two layers with only f(s x) = s f(x), s > 0, between them, channel i of the first can be divided by any s_i and the
second's weights for it multiplied. With s_i = sqrt(r1_i / r2_i) (equation 11) both have the same range there, and so no
channel is quantized coarsely because another is large. SiLU, HardSwish, Sigmoid and the like do not have this property.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.layers import output_axis
from yocc.compiler.pipeline.passes import Pass, PassContext

Array = np.ndarray[Any, Any]

_HOMOGENEOUS = frozenset(
    {"AveragePool", "Dropout", "GlobalAveragePool", "GlobalMaxPool", "Identity", "LeakyRelu", "MaxPool", "Relu"}
)
"""Operators that act on each channel alone and for which a positive factor may go before or after."""
_SWEEPS = 20
_MOST = 10
"""In a sweep factors lie between 2 to the minus this and 2 to this; layers of extreme ranges take several."""


@dataclass(frozen=True, kw_only=True)
class Equalize(Pass):
    """Give both layers of a pair the same weight range in each channel; outputs stay bit-identical.

    The factors are powers of two, by which floating point multiplies exactly.
    """

    name: ClassVar[str] = "equalize"
    summary: ClassVar[str] = (
        "equalize channel ranges of layers with ReLU or nothing between them, for per-tensor scales"
    )

    def run(self, graph: Graph, ctx: PassContext) -> int:
        """The number of pairs that changed."""
        pairs = list(_pairs(graph))
        if not pairs:
            ctx.note("Nothing to equalize: no two layers have only ReLU, LeakyReLU, pooling or nothing between them.")
        changed: set[int] = set()
        for _ in range(_SWEEPS):
            moved = [place for place, pair in enumerate(pairs) if pair.equalize()]
            if not moved:
                break
            changed.update(moved)
        return len(changed)


@dataclass(frozen=True)
class _Pair:
    """Two layers; what leaves the first is, channel by channel and up to a positive factor, what enters the second."""

    first: gs.Node
    second: gs.Node

    def equalize(self) -> bool:
        """Whether any factor was not 1."""
        out, into = _outputs(self.first), _inputs(self.second)
        ranges = [np.abs(rows).max(axis=1, initial=0.0).astype(np.float64) for rows in (out.rows(), into.rows())]
        usable = (ranges[0] > 0) & (ranges[1] > 0)
        quotient = np.divide(ranges[0], ranges[1], out=np.ones_like(ranges[0]), where=usable)
        exponents = np.clip(np.round(np.log2(quotient) / 2), -_MOST, _MOST)
        if not exponents.any():
            return False
        factors = np.exp2(exponents)
        out.scale(1 / factors)
        into.scale(factors)
        if len(self.first.inputs) > 2 and not self.first.inputs[2].is_empty():
            bias = self.first.inputs[2]
            self.first.inputs[2] = gs.Constant(bias.name, (bias.values / factors).astype(bias.values.dtype))
        return True


@dataclass(frozen=True)
class _Channels:
    """A layer's weight seen by the channels on one side of it.

    Attributes:
        node: the layer.
        turned: the weight with these channels first; its own inverse.
    """

    node: gs.Node
    turned: Callable[[Array], Array]

    def rows(self) -> Array:
        """Shape [channels, values]."""
        values = self.turned(self.node.inputs[1].values)
        rows: Array = values.reshape(len(values), -1)
        return rows

    def scale(self, factors: Array) -> None:
        """Multiply each channel's weights."""
        weight = self.node.inputs[1]
        values = self.turned(weight.values)
        scaled = values * factors.reshape(-1, *[1] * (values.ndim - 1)).astype(values.dtype)
        self.node.inputs[1] = gs.Constant(weight.name, np.ascontiguousarray(self.turned(scaled)))


def _pairs(graph: Graph) -> Iterator[_Pair]:
    given = {output.name for output in graph.outputs}
    for node in graph.nodes:
        reader = _reader(node, given) if _is_plain(node) else None
        while reader is not None and reader.op in _HOMOGENEOUS:
            reader = _reader(reader, given)
        if reader is not None and _is_plain(reader) and _fit(node, reader):
            yield _Pair(node, reader)


def _reader(node: gs.Node, given: set[str]) -> gs.Node | None:
    """The only operator that reads what a node gives, as its first input."""
    if len(node.outputs) != 1 or node.outputs[0].name in given or len(node.outputs[0].outputs) != 1:
        return None
    reader = node.outputs[0].outputs[0]
    return reader if reader.inputs[0] is node.outputs[0] else None


def _is_plain(node: gs.Node) -> bool:
    """Whether it is a layer in float whose weight and bias are its own."""
    if node.op not in ("Conv", "ConvTranspose", "Gemm") or len(node.outputs) != 1:
        return False
    if node.op == "ConvTranspose" and node.attrs.get("group", 1) != 1:
        return False
    if node.op == "Gemm" and (node.attrs.get("transA", 0) or len(node.inputs[1].shape or ()) != 2):
        return False
    own = [tensor for tensor in node.inputs[1:] if not tensor.is_empty()]
    if not all(isinstance(tensor, gs.Constant) and len(tensor.outputs) == 1 for tensor in own):
        return False
    if own[0].values.dtype != np.float32 or not all(np.isfinite(tensor.values).all() for tensor in own):
        return False
    return len(own) < 2 or own[1].values.shape == (len(_outputs(node).rows()),)


def _fit(first: gs.Node, second: gs.Node) -> bool:
    """Whether their channels are the same in number."""
    return len(_outputs(first).rows()) == len(_inputs(second).rows())


def _outputs(node: gs.Node) -> _Channels:
    """By output channel."""
    return _Channels(node, _swapped if _has_inputs_first(node) else _same)


def _inputs(node: gs.Node) -> _Channels:
    """By input channel; of a grouped convolution, group after group."""
    if _has_inputs_first(node):
        return _Channels(node, _same)
    return _Channels(node, functools.partial(_swapped, groups=int(node.attrs.get("group", 1))))


def _has_inputs_first(node: gs.Node) -> bool:
    return output_axis(node, 2) == 1


def _same(values: Array) -> Array:
    return values


def _swapped(values: Array, groups: int = 1) -> Array:
    """The first two axes exchanged within each group; its own inverse."""
    apart = values.reshape(groups, -1, *values.shape[1:]).swapaxes(1, 2)
    found: Array = apart.reshape(-1, *apart.shape[2:])
    return found
