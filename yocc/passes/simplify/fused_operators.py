"""Operators that onnxruntime writes into models it has optimized, as the operators of ONNX that they are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.writing import Writer

_DOMAIN = "com.microsoft"
_LAYER_NORMALIZATION, _GELU = 17, 20
"""Opsets that brought these."""
Last = tuple[str, list[gs.Tensor], dict[str, Any]]
"""The last operator of several: its name, inputs and attributes."""


class _Parts:
    """Appends what stands for one node.

    Args:
        graph: of the node.
        node: what is replaced; its first input has a type.
    """

    def __init__(self, graph: Graph, node: gs.Node) -> None:
        self._writer, self._name = Writer(graph), node.name
        self.node, self.opset = node, graph.opset
        self.inputs = [tensor if tensor.name else None for tensor in node.inputs]
        self.dtype = np.dtype(node.inputs[0].dtype)

    def __call__(self, op: str, *inputs: gs.Tensor, dtype: Any = None, **attributes: Any) -> gs.Variable:
        return self._writer.node(op, f"{self._name}_{op}", list(inputs), dtype or self.dtype, attributes)

    def number(self, value: float) -> gs.Constant:
        return self._writer.constant(f"{self._name}_number", np.array(value, self.dtype))

    def optional(self, slot: int) -> gs.Tensor | None:
        return self.inputs[slot] if len(self.inputs) > slot else None


def split_fused_operators(graph: Graph) -> int:
    """Replace the activations, products and normalizations of `com.microsoft` that are named below.

    Definitions: onnxruntime's docs/ContribOperators.md. Nodes with outputs that ONNX's operators do not give, and those
    whose type is not known yet, are left alone.

    Returns:
        How many were replaced.
    """
    replaced = 0
    for node in list(graph.nodes):
        split = _SPLITS.get(node.op) if node.domain == _DOMAIN else None
        others = any(tensor.name for tensor in node.outputs[1:])
        if split is None or others or not isinstance(node.inputs[0].dtype, np.dtype | type):
            continue
        last = split(_Parts(graph, node))
        if last is None:
            continue
        op, inputs, attributes = last
        result = node.outputs[0]
        node.inputs.clear()
        node.outputs.clear()
        graph.nodes = [each for each in graph.nodes if each is not node]
        graph.nodes.append(gs.Node(op, node.name, attributes, inputs, [result]))
        replaced += 1
    return replaced


def _gelu(parts: _Parts) -> Last:
    return _gelu_of(parts, parts.node.inputs[0])


def _bias_gelu(parts: _Parts) -> Last:
    return _gelu_of(parts, parts("Add", *parts.node.inputs[:2]))


def _gelu_of(parts: _Parts, data: gs.Tensor) -> Last:
    """`x / 2 (1 + erf(x / sqrt 2))`, as exporters write it before opset 20."""
    if parts.opset >= _GELU:
        return "Gelu", [data], {}
    error = parts("Erf", parts("Div", data, parts.number(math.sqrt(2))))
    return "Mul", [parts("Mul", data, parts("Add", error, parts.number(1))), parts.number(0.5)], {}


def _fast_gelu(parts: _Parts) -> Last:
    """`x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`."""
    bias, data = parts.optional(1), parts.node.inputs[0]
    if bias is not None:
        data = parts("Add", data, bias)
    if parts.opset >= _GELU:
        return "Gelu", [data], {"approximate": "tanh"}
    cube = parts("Mul", parts("Mul", parts("Mul", data, data), data), parts.number(0.044715))
    inner = parts("Mul", parts("Add", data, cube), parts.number(math.sqrt(2 / math.pi)))
    whole = parts("Add", parts("Tanh", inner), parts.number(1))
    return "Mul", [parts("Mul", data, whole), parts.number(0.5)], {}


def _quick_gelu(parts: _Parts) -> Last:
    data, alpha = parts.node.inputs[0], float(parts.node.attrs.get("alpha", 1.702))
    return "Mul", [data, parts("Sigmoid", parts("Mul", data, parts.number(alpha)))], {}


def _fused_product(parts: _Parts) -> Last | None:
    attributes, sides = parts.node.attrs, list(parts.node.inputs[:2])
    if attributes.get("transBatchA", 0) or attributes.get("transBatchB", 0):
        return None
    for slot, name in enumerate(("transA", "transB")):
        if not attributes.get(name, 0):
            continue
        shape = sides[slot].shape
        if shape is None or len(shape) < 2:
            return None
        axes = list(range(len(shape)))
        sides[slot] = parts("Transpose", sides[slot], perm=[*axes[:-2], axes[-1], axes[-2]])
    alpha = float(attributes.get("alpha", 1.0))
    if alpha == 1.0:
        return "MatMul", sides, {}
    return "Mul", [parts("MatMul", *sides), parts.number(alpha)], {}


def _integer_product(parts: _Parts) -> Last:
    """Codes decoded, multiplied, and a bias added."""
    left, right, left_scale, right_scale = parts.node.inputs[:4]
    columns = {} if right_scale.shape in ((), (1,), []) else {"axis": len(right.shape) - 1}
    sides = [
        parts("DequantizeLinear", *(tensor for tensor in each if tensor is not None), dtype=np.float32, **attributes)
        for each, attributes in (
            ((left, left_scale, parts.optional(4)), {}),
            ((right, right_scale, parts.optional(5)), columns),
        )
    ]
    bias = parts.optional(6)
    if bias is None:
        return "MatMul", sides, {}
    return "Add", [parts("MatMul", *sides, dtype=np.float32), bias], {}


def _skip_layer_norm(parts: _Parts) -> Last | None:
    """The sum of input, skip and bias, normalized over the last axis."""
    scale = parts.optional(2)
    if parts.opset < _LAYER_NORMALIZATION or scale is None:
        return None
    total = parts("Add", *parts.node.inputs[:2])
    bias = parts.optional(4)
    if bias is not None:
        total = parts("Add", total, bias)
    shift = parts.optional(3)
    trained = [scale] if shift is None else [scale, shift]
    # The default of onnxruntime is not that of ONNX.
    return (
        "LayerNormalization",
        [total, *trained],
        {"axis": -1, "epsilon": float(parts.node.attrs.get("epsilon", 1e-12))},
    )


_SPLITS: Mapping[str, Callable[[_Parts], Last | None]] = MappingProxyType(
    {
        "Gelu": _gelu,
        "BiasGelu": _bias_gelu,
        "FastGelu": _fast_gelu,
        "QuickGelu": _quick_gelu,
        "FusedMatMul": _fused_product,
        "MatMulIntegerToFloat": _integer_product,
        "SkipLayerNormalization": _skip_layer_norm,
    }
)
