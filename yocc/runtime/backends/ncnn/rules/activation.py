"""Activations: layers of their own, or part of the layer before them where ncnn fuses them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph.gates import is_gated
from yocc.runtime.backends.ncnn.format import Data, Parameter
from yocc.runtime.backends.ncnn.lowering import Lowering, Refusal, Rule

_LARGEST = 3.4e38
"""Stands for no bound."""
_ADD, _MUL, _MAX, _MIN = 0, 2, 4, 5
"""Kinds of BinaryOp."""
_RELU, _LEAKY, _CLIP, _SIGMOID, _MISH, _HARD_SWISH = range(1, 7)
_HARD_SWISH_SHAPE = (1.0 / 6.0, 0.5)


def fused(lowering: Lowering, output: gs.Tensor) -> tuple[gs.Tensor, dict[int, Parameter]]:
    """The activation that a layer can compute on its output.

    Returns:
        The tensor behind it, and the layer's parameters 9 (which) and 10 (its numbers); `output` and nothing when the
        next node is no such activation.
    """
    node = lowering.sole_reader(output)
    found = None if node is None else _as_fused(lowering, node)
    if node is None or found is None:
        return output, {}
    lowering.absorbed.add(node.name)
    kind, numbers = found
    parameters: dict[int, Parameter] = {9: kind}
    if numbers:
        parameters[10] = numbers
    return node.outputs[0], parameters


def _as_fused(lowering: Lowering, node: gs.Node) -> tuple[int, tuple[float, ...]] | None:
    if node.op == "Relu":
        return _RELU, ()
    if node.op == "LeakyRelu":
        return _LEAKY, (float(node.attrs.get("alpha", 0.01)),)
    if node.op == "Clip":
        try:
            return _CLIP, _bounds(lowering, node)
        except Refusal:
            return None
    if node.op == "Sigmoid":
        return _SIGMOID, ()
    if node.op == "Mish":
        return _MISH, ()
    return (_HARD_SWISH, _HARD_SWISH_SHAPE) if node.op == "HardSwish" else None


def _sigmoid(lowering: Lowering, node: gs.Node) -> None:
    """`x * sigmoid(x)` is Swish."""
    _gate(lowering, node, "Sigmoid", "Swish")


def _hard_sigmoid(lowering: Lowering, node: gs.Node) -> None:
    """`x * hardsigmoid(x)` is HardSwish."""
    shape = {0: float(node.attrs.get("alpha", 0.2)), 1: float(node.attrs.get("beta", 0.5))}
    _gate(lowering, node, "HardSigmoid", "HardSwish", shape)


def _gate(
    lowering: Lowering, node: gs.Node, alone: str, multiplied: str, parameters: Mapping[int, Parameter] | None = None
) -> None:
    """One layer for a gate and the product with its input, where nothing else reads the gate."""
    product = lowering.sole_reader(node.outputs[0])
    if product is not None and is_gated(product, node):
        lowering.absorbed.add(product.name)
        return _layer(lowering, node, multiplied, parameters, output=product.outputs[0])
    return _layer(lowering, node, alone, parameters)


def _clip(lowering: Lowering, node: gs.Node) -> None:
    low, high = _bounds(lowering, node)
    _layer(lowering, node, "Clip", {0: low, 1: high})


def _bounds(lowering: Lowering, node: gs.Node) -> tuple[float, float]:
    low, high = lowering.parameter(node, 1), lowering.parameter(node, 2)
    first = float(node.attrs.get("min", -_LARGEST)) if low is None else float(low)
    second = float(node.attrs.get("max", _LARGEST)) if high is None else float(high)
    return max(first, -_LARGEST), min(second, _LARGEST)


def _prelu(lowering: Lowering, node: gs.Node) -> None:
    slope = lowering.value(node.inputs[1])
    shape = lowering.shape(node.inputs[0])
    sizes = None if slope is None else (1,) * (len(shape) - slope.ndim) + slope.shape
    channels = shape[1] if len(shape) > 1 and shape[0] == 1 else 0
    if slope is None or sizes is None or (slope.size > 1 and sizes != _per_channel(sizes, channels)):
        _prelu_in_parts(lowering, node)
        return
    data = [Data("floats", slope.astype(np.float32).reshape(-1))]
    names = [lowering.blob(node.inputs[0])], [node.outputs[0].name]
    lowering.add("PReLU", node.name, *names, {0: int(slope.size)}, data)


def _per_channel(sizes: tuple[int, ...], channels: int) -> tuple[int, ...]:
    return tuple(channels if axis == 1 else 1 for axis in range(len(sizes)))


def _prelu_in_parts(lowering: Lowering, node: gs.Node) -> None:
    """Slopes of single elements or rows: what is above zero plus what is below times them."""
    output = node.outputs[0]
    lowering.sizes(output)
    slope = lowering.operand(node, node.inputs[1])
    above, below, scaled = (lowering.fresh(output.name) for _ in range(3))
    source = lowering.blob(node.inputs[0])
    for name, kind, result in (("above", _MAX, above), ("below", _MIN, below)):
        lowering.add("BinaryOp", f"{node.name}_{name}", [source], [result], {0: kind, 1: 1, 2: 0.0})
    lowering.add("BinaryOp", f"{node.name}_scaled", [below, slope], [scaled], {0: _MUL})
    lowering.add("BinaryOp", node.name, [above, scaled], [output.name], {0: _ADD})


def _elu(lowering: Lowering, node: gs.Node) -> None:
    _layer(lowering, node, "ELU", {0: float(node.attrs.get("alpha", 1.0))})


def _selu(lowering: Lowering, node: gs.Node) -> None:
    alpha, gamma = float(node.attrs.get("alpha", 1.6732632)), float(node.attrs.get("gamma", 1.0507010))
    _layer(lowering, node, "SELU", {0: alpha, 1: gamma})


def _leaky(lowering: Lowering, node: gs.Node) -> None:
    _layer(lowering, node, "ReLU", {0: float(node.attrs.get("alpha", 0.01))})


def _hard_swish(lowering: Lowering, node: gs.Node) -> None:
    _layer(lowering, node, "HardSwish", dict(enumerate(_HARD_SWISH_SHAPE)))


def _swish(lowering: Lowering, node: gs.Node) -> None:
    if node.attrs.get("alpha", 1.0) != 1.0:
        raise Refusal("ncnn's Swish has no alpha")
    _layer(lowering, node, "Swish")


def _gelu(lowering: Lowering, node: gs.Node) -> None:
    _layer(lowering, node, "GELU", {0: int(node.attrs.get("approximate", "none") == "tanh")})


def _plain(kind: str) -> Rule:
    def rule(lowering: Lowering, node: gs.Node) -> None:
        _layer(lowering, node, kind)

    return rule


def _layer(
    lowering: Lowering,
    node: gs.Node,
    kind: str,
    parameters: Mapping[int, Parameter] | None = None,
    output: gs.Tensor | None = None,
) -> None:
    lowering.sizes(node.inputs[0])
    written = node.outputs[0] if output is None else output
    lowering.add(kind, node.name, [lowering.blob(node.inputs[0])], [written.name], parameters)


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Relu": _plain("ReLU"),
        "LeakyRelu": _leaky,
        "Clip": _clip,
        "Sigmoid": _sigmoid,
        "HardSigmoid": _hard_sigmoid,
        "HardSwish": _hard_swish,
        "Swish": _swish,
        "Mish": _plain("Mish"),
        "Tanh": _plain("TanH"),
        "Softplus": _plain("Softplus"),
        "Elu": _elu,
        "Erf": _plain("Erf"),
        "Gelu": _gelu,
        "Selu": _selu,
        "PRelu": _prelu,
    }
)
