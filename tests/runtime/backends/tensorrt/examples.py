"""For each rule of TensorRT's parser a graph that breaks it, and what the parser does with that graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.passes.graphs import build
from yocc.compiler.graph import Graph, load

Answer = Literal["refuses", "takes"]
CODED = {
    "q": "c = QuantizeLinear(x, s, z)",
    "d": "xd = DequantizeLinear(c, s, z)",
    "w": "wd = DequantizeLinear<axis = 0>(wc, ws, wz)",
    "conv": "y = Conv(xd, wd, b)",
}
VALUES: dict[str, Any] = {
    "s": np.float32(0.02),
    "z": np.int8(0),
    "wc": np.arange(-64, 64, dtype=np.int8).reshape(8, 4, 2, 2),
    "ws": np.full(8, 0.01, np.float32),
    "wz": np.zeros(8, np.int8),
    "b": np.ones(8, np.float32),
}


def quantized(lines: dict[str, str] | None = None, opset: int = 19, **values: Any) -> Graph:
    """A quantized convolution; lines and values replace those of the same name."""
    nodes = [f"{name}: {body}" for name, body in {**CODED, **(lines or {})}.items()]
    weights = {name: np.asarray(value) for name, value in {**VALUES, **values}.items()}
    return build(nodes, weights, ["y"], opset=opset)


def half(opset: int = 19, **values: Any) -> Graph:
    """The same in half precision between two Casts, its scales fp16."""
    lines = {
        "before": "h = Cast<to = 10>(x)",
        "q": "c = QuantizeLinear(h, s, z)",
        "conv": "r = Conv(xd, wd, b)",
        "after": "y = Cast<to = 1>(r)",
    }
    scales = {"s": np.float16(0.02), "ws": np.full(8, 0.01, np.float16), "b": np.ones(8, np.float16)}
    return quantized(lines, opset, **{**scales, **values})


def typed(nodes: list[str], kind: int, weights: dict[str, Any] | None = None, opset: int = 19) -> Graph:
    """A graph whose input and output are of one given type."""
    parsed = [onnx.parser.parse_node(line) for line in nodes]
    values = [helper.make_tensor_value_info(name, kind, [1, 4, 8, 8] if name == "x" else None) for name in "xy"]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(parsed, "test", values[:1], values[1:], initializers)
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9))


def newest() -> Graph:
    graph = quantized()
    graph.opset = 26
    return graph


def heavy() -> Graph:
    """Three gigabytes on paper: one page of memory seen again and again."""
    graph = quantized()
    graph.tensors()["b"].values = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (3 << 28,), (0,))
    return graph


def changed(graph: Graph, name: str, dtype: type) -> Graph:
    """With another type of one constant, which ONNX's own checks would not let in."""
    tensor = graph.tensors()[name]
    tensor.values = tensor.values.astype(dtype)
    return graph


def mixed() -> Graph:
    graph = quantized({"conv": "r = Conv(xd, wd, b)", "add": "y = Add(r, o)"}, o=np.ones(1, np.float32))
    return changed(graph, "o", np.float16)


def half_resize() -> Graph:
    scales = np.array([1, 1, 2, 2], np.float32)
    return changed(
        build(['up: y = Resize<mode = "nearest">(x, , scales)'], {"scales": scales}, ["y"]), "scales", np.float16
    )


def older() -> Graph:
    graph = half()
    graph.opset = 17
    return graph


def int32_bias() -> Graph:
    lines = {"bias": "bd = DequantizeLinear(bc, bs, bz)", "conv": "y = Conv(xd, wd, bd)"}
    return quantized(lines, bc=np.ones(8, np.int32), bs=np.float32(0.001), bz=np.int32(0))


def wrong_axis() -> Graph:
    line = {"w": "wd = DequantizeLinear<axis = 1>(wc, ws, wz)"}
    return quantized(line, ws=np.full(4, 0.01, np.float32), wz=np.zeros(4, np.int8))


BROKEN: dict[str, tuple[Callable[[], Graph], Answer | None]] = {
    "opset": (newest, "takes"),
    "operator": (
        lambda: build(
            ["b: c = Cast<to = 6>(x)", "n: d = BitwiseNot(c)", "e: y = Cast<to = 1>(d)"], {}, ["y"], opset=18
        ),
        "refuses",
    ),
    "model-size": (heavy, None),
    "element-type": (lambda: typed(["y = Neg(x)"], TensorProto.DOUBLE), "takes"),
    "mixed-types": (mixed, "refuses"),
    "resize-scales": (half_resize, "takes"),
    "code-type": (lambda: quantized(opset=21, z=np.int16(0)), "refuses"),
    "zero-point-given": (
        lambda: quantized({"q": "c = QuantizeLinear(x, s)", "d": "xd = DequantizeLinear(c, s)"}),
        "takes",
    ),
    "zero-point-type": (lambda: quantized(z=np.uint8(0)), "takes"),
    "zero-point-value": (lambda: quantized(z=np.int8(3)), "refuses"),
    "scale-constant": (
        lambda: quantized({"abs": "sa = ReduceMax<keepdims = 0>(x)", "q": "c = QuantizeLinear(x, sa, z)"}),
        "takes",
    ),
    "scale-positive": (lambda: quantized(ws=np.array([0.01] * 7 + [0], np.float32)), "refuses"),
    "scale-underflow": (lambda: half(s=np.float16(3e-5)), "takes"),
    "scale-type": (lambda: changed(half(), "s", np.float32), "refuses"),
    "half-scale-opset": (older, "takes"),
    "bias-float": (int32_bias, "refuses"),
    "activation-per-tensor": (lambda: quantized(s=np.full(4, 0.02, np.float32), z=np.zeros(4, np.int8)), "takes"),
    "weight-axis": (wrong_axis, "takes"),
}
"""By the rule's name: what breaks it, and what the parser of tensorrt-rtx does: it refuses it, or takes it and reads it
otherwise than ONNX or in a way that is documented as not supported; None where it cannot be written to a file."""
