"""Which layers can become two thinner ones, and what that costs at each rank."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.windows import channel_axis
from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import weight_of
from yocc.compiler.graph.layers import is_weighted, output_axis
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.latency import PairForm

Array = np.ndarray[Any, Any]
LARGEST = 4096
"""Outputs of a layer up to which their directions are looked for; the time grows with their cube."""
_ALWAYS = ("Conv", "ConvTranspose", "Gemm")
"""Operators that are layers whatever their weight is; a MatMul is one if it has a constant weight."""


Form = PairForm
"""How a layer becomes two: `outputs` is the same kernel to fewer channels, then 1 x 1; `vertical` is k x 1, then 1 x k;
`horizontal` is 1 x k first."""


@dataclass(frozen=True)
class Cost:
    """What a layer costs.

    Attributes:
        parameters: its weights and biases.
        macs: multiply-accumulates of one run.
    """

    parameters: int
    macs: int


@dataclass(frozen=True)
class Layer:
    """A layer that can become two: the first computes `rank` components, the second makes its outputs of them.

    Attributes:
        node: a Conv or ConvTranspose of one group, or a Gemm or MatMul by a constant matrix.
        inputs: what one output multiplies: channels times kernel.
        outputs: channels it makes.
        places: by form that it can take, positions at which the first of the two layers multiplies its weights, samples
            of a batch included.
        positions: positions of the output.
        cost: what it costs as one layer.
        bias: the constant Add behind a MatMul that nothing else reads; None elsewhere.
    """

    node: gs.Node
    inputs: int
    outputs: int
    positions: int
    cost: Cost
    places: Mapping[Form, int] = field(default_factory=dict)
    bias: gs.Node | None = None

    @property
    def has_bias(self) -> bool:
        """Whether there is a place for the mean of what is lost: all but a MatMul without an Add take one."""
        return self.node.op != "MatMul" or self.bias is not None

    def matrix(self) -> Array:
        """Its weight in float64, shape [outputs, inputs]; a Gemm's factor is in it."""
        values = self.node.inputs[1].values
        matrix: Array = np.moveaxis(values, output_axis(self.node, values.ndim), 0).reshape(self.outputs, -1)
        return matrix.astype(np.float64) * float(self.node.attrs.get("alpha", 1.0) if self.node.op == "Gemm" else 1.0)

    def own_bias(self) -> Array:
        """What its node adds to each output, shape [outputs]; a MatMul adds nothing, whatever is behind it."""
        bias = np.zeros(self.outputs)
        if len(self.node.inputs) > 2 and not self.node.inputs[2].is_empty():
            bias = bias + self.node.inputs[2].values.astype(np.float64).reshape(-1)
        return bias * float(self.node.attrs.get("beta", 1.0) if self.node.op == "Gemm" else 1.0)

    def kernel(self) -> Array:
        """The weight of a convolution over pictures in float64, shape [outputs, channels, height, width]."""
        values: Array = self.node.inputs[1].values.astype(np.float64)
        return values

    def cost_at(self, form: Form, rank: int) -> Cost:
        """What the two layers cost."""
        biases = self.outputs if self.node.op != "MatMul" else 0
        first, second = self.inputs, self.outputs
        if form != "outputs":
            _, channels, height, width = self.node.inputs[1].shape
            own, other = (height, width) if form == "vertical" else (width, height)
            first, second = channels * own, second * other
        return Cost(rank * (first + second) + biases, rank * (first * self.places[form] + second * self.positions))

    def between(self, form: Form, rank: int) -> int:
        """Values that the first of the two layers writes and the second reads."""
        return rank * (self.places[form] if form != "outputs" or self.node.op == "ConvTranspose" else self.positions)

    def full_rank(self, form: Form) -> int:
        """The rank at which two layers compute the same as the one."""
        if form == "outputs":
            return min(self.inputs, self.outputs)
        _, channels, height, width = self.node.inputs[1].shape
        own, other = (height, width) if form == "vertical" else (width, height)
        return int(min(channels * own, self.outputs * other))

    def most_rank(self, form: Form) -> int:
        """The largest rank that saves both parameters and MACs; 0 where none does."""
        unit, none = self.cost_at(form, 1), self.cost_at(form, 0)
        parameters = (self.cost.parameters - none.parameters - 1) // (unit.parameters - none.parameters)
        macs = (self.cost.macs - 1) // unit.macs
        most = min(parameters, macs, *((self.outputs - 1,) if form == "outputs" else ()))
        return max(0, most)

    def rows(self, values: Array) -> Array:
        """An output as one row of channels for each position, shape [positions, outputs]."""
        axis = channel_axis(self.node)
        rows: Array = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
        return rows


def find_layers(graph: Graph, shapes: Shapes) -> tuple[dict[str, Layer], dict[str, str]]:
    """Layers that can become two, by name, and why others cannot.

    Args:
        graph: the graph.
        shapes: its concrete shapes.
    """
    ends = {id(tensor) for tensor in graph.outputs}
    found: dict[str, Layer] = {}
    reasons: dict[str, str] = {}
    for node in graph.nodes:
        if node.op not in _ALWAYS and weight_of(node) is None:
            continue
        reason = _obstacle(node, shapes)
        if reason:
            reasons[node.name] = reason
        else:
            found[node.name] = _layer(node, shapes, ends)
    return found, reasons


def _obstacle(node: gs.Node, shapes: Shapes) -> str:
    """Why a layer stays whole; completes "it stays whole: "."""
    weight = node.inputs[1]
    if not isinstance(weight, gs.Constant) or np.dtype(weight.dtype).kind != "f":
        return "its weight is computed, quantized or on the left"
    if not is_weighted(node):
        return "it is part of the decoding"
    if len(weight.outputs) > 1:
        return "other layers share its weight"
    if node.op in ("Conv", "ConvTranspose") and node.attrs.get("group", 1) != 1:
        return "its convolution is grouped"
    if node.op in ("Gemm", "MatMul") and len(weight.shape) != 2:
        return "its weight is no matrix"
    if node.op == "Gemm" and (node.attrs.get("transA", 0) or not node.attrs.get("alpha", 1.0)):
        return "its input is transposed or multiplied by 0"
    if shapes.of(node.inputs[0]) is None or shapes.of(node.outputs[0]) is None:
        return "its shapes depend on data"
    outputs = _outputs(node)
    if outputs > LARGEST:
        return f"it has more than {LARGEST} outputs"
    biases = [tensor for tensor in node.inputs[2:] if not tensor.is_empty()]
    if not all(isinstance(bias, gs.Constant) and math.prod(bias.shape) in (1, outputs) for bias in biases):
        return "its bias is computed"
    return ""


def _layer(node: gs.Node, shapes: Shapes, ends: set[int]) -> Layer:
    weight, outputs = node.inputs[1], _outputs(node)
    inputs = math.prod(weight.shape) // outputs
    positions = math.prod(shapes.shapes[node.outputs[0].name]) // outputs
    data = shapes.shapes[node.inputs[0].name]
    biases = sum(math.prod(tensor.shape) for tensor in node.inputs[2:] if not tensor.is_empty())
    made_at = math.prod(data) // data[1] if node.op == "ConvTranspose" else positions
    places: dict[Form, int] = {"outputs": made_at}
    if node.op == "Conv" and len(weight.shape) == 4 and min(weight.shape[2:]) > 1:
        (height, width), (rows, columns) = data[2:], shapes.shapes[node.outputs[0].name][2:]
        places |= {"vertical": data[0] * rows * width, "horizontal": data[0] * height * columns}
    cost = Cost(inputs * outputs + biases, inputs * outputs * made_at)
    return Layer(node, inputs, outputs, positions, cost, places, _bias_behind(node, outputs, ends))


def _outputs(node: gs.Node) -> int:
    return int(node.inputs[1].shape[output_axis(node, len(node.inputs[1].shape))])


def _bias_behind(node: gs.Node, outputs: int, ends: set[int]) -> gs.Node | None:
    """The Add that is a MatMul's bias."""
    tensor = node.outputs[0]
    if node.op != "MatMul" or len(tensor.outputs) != 1 or tensor.outputs[0].op != "Add" or id(tensor) in ends:
        return None
    addition = tensor.outputs[0]
    others = [operand for operand in addition.inputs if operand is not tensor]
    if len(others) != 1 or not isinstance(others[0], gs.Constant):
        return None
    shape = others[0].shape
    return addition if shape and shape[-1] == outputs == math.prod(shape) else None
