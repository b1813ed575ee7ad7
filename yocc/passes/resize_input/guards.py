"""Nodes whose meaning would change with the input size, in ways that shapes alone do not show."""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx_graphsurgeon as gs

from yocc.compiler.graph.nops import captured_names
from yocc.compiler.graph.operators import OPS
from yocc.passes.resize_input.placing import WINDOWED
from yocc.passes.resize_input.state import State, refuse

_KNOWN = WINDOWED | frozenset(
    {"ArgMax", "ArgMin", "GatherElements", "NonMaxSuppression", "NonZero", "Range", "ConstantOfShape", "Tile", "TopK"}
    | {"Size", "HardMax", "LRN", "MatMulInteger", "QLinearMatMul", "LpNormalization", "MeanVarianceNormalization"}
    | {"DynamicQuantizeLinear", "IsNaN", "IsInf", "CumSum", "Hardmax", "RMSNormalization"}
)
"""Operators without a row in the table of operators that can do with any size."""


def check(state: State, node: gs.Node) -> None:
    """Refuse a node that is made for the old size, or of which nothing is known.

    Raises:
        PassError: names it.
    """
    read = {tensor.name for tensor in node.inputs if tensor.name}
    nested = any(True for _ in node.subgraphs())
    if nested:
        read |= captured_names(gs.Graph([node]))
    if not any(extent.varies for name in read for extent in state.extents.get(name, ())):
        return
    if nested:
        refuse(node, f"{node.op} computes with subgraphs, into which sizes are not followed")
    if node.domain or (node.op not in OPS and node.op not in _KNOWN):
        refuse(node, f"nothing is known of the operator {node.op}")
    rule = _RULES.get(node.op)
    if rule is not None:
        rule(state, node)


def _windowed(state: State, node: gs.Node) -> None:
    source = state.of(node.inputs[0]) or []
    if len(source) < 3:
        return
    if source[1].varies:
        refuse(node, "the size went into its channels")
    if node.attrs.get("output_shape"):
        refuse(node, "its output shape is an attribute")
    weight = state.old.shapes.get(node.inputs[1].name) if node.op == "Conv" and len(node.inputs) > 1 else None
    kernel = node.attrs.get("kernel_shape") or (weight or (0, 0))[2:]
    for extent, size, pads in zip(source[2:], kernel, node.attrs.get("pads", [0] * len(kernel)), strict=False):
        if extent.varies and size == extent.old and size > 2 and not pads:
            refuse(node, f"its window of {size} covers the whole map at the old size only")


def _channels(state: State, node: gs.Node) -> None:
    source = state.of(node.inputs[0]) or []
    if len(source) > 1 and source[1].varies:
        refuse(node, "the size went into its channels")


def _layer_norm(state: State, node: gs.Node) -> None:
    source = state.of(node.inputs[0]) or []
    if source and any(extent.varies for extent in source[node.attrs.get("axis", -1) % len(source) :]):
        refuse(node, "the size went into the axes it normalizes, for which it has weights")


def _matmul(state: State, node: gs.Node) -> None:
    first, second = (state.of(tensor) for tensor in node.inputs[:2])
    for tensor, extents, axis in ((node.inputs[1], first, -1), (node.inputs[0], second, -2)):
        if tensor.name in state.fixed and extents and len(extents) >= -axis and extents[axis].varies:
            refuse(node, f"its weights of shape {_shape(state, tensor)} are made for {extents[axis].old} inputs")


def _gemm(state: State, node: gs.Node) -> None:
    source = state.of(node.inputs[0])
    if source and source[0 if node.attrs.get("transA", 0) else 1].varies:
        width = source[0 if node.attrs.get("transA", 0) else 1].old
        refuse(node, f"its weights of shape {_shape(state, node.inputs[1])} are made for {width} inputs")


def _gather(state: State, node: gs.Node) -> None:
    source, index = state.of(node.inputs[0]), node.inputs[1]
    if source and index.name in state.fixed and source[node.attrs.get("axis", 0) % len(source)].varies:
        refuse(node, "it picks elements by their number along an axis that the size went into")


def _top_k(state: State, node: gs.Node) -> None:
    source, count = state.of(node.inputs[0]), state.vectors(node.inputs[1])
    if source is None or count is None:
        return
    extent = source[node.attrs.get("axis", -1) % len(source)]
    if extent.varies and count[0] == count[1] and not count[0][0] < min(extent.old, extent.new):
        refuse(node, f"it takes {count[0][0]} of {extent.old}, of which {extent.new} are left")


def _quantize(state: State, node: gs.Node) -> None:
    source = state.of(node.inputs[0])
    if not source or math.prod(state.old.shapes.get(node.inputs[1].name, (1,))) == 1:
        return
    if source[node.attrs.get("axis", 1) % len(source)].varies:
        refuse(node, "it has a scale for each element of an axis that the size went into")


def _squeeze(state: State, node: gs.Node) -> None:
    source = state.of(node.inputs[0]) or []
    given = state.vectors(node.inputs[1]) if len(node.inputs) > 1 else None
    axes = node.attrs.get("axes") if given is None else given[0]
    dropped = [extent for extent in source if extent.old == 1] if axes is None else [source[axis] for axis in axes]
    if any(extent.varies for extent in dropped):
        refuse(node, "it drops an axis of one element that the size went into")


def _shape(state: State, tensor: gs.Tensor) -> list[int]:
    return list(state.old.shapes.get(tensor.name, ()))


_RULES: dict[str, Callable[[State, gs.Node], None]] = {
    "BatchNormalization": _channels,
    "InstanceNormalization": _channels,
    "GroupNormalization": _channels,
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _layer_norm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "Gemm": _gemm,
    "Gather": _gather,
    "GatherElements": _gather,
    "TopK": _top_k,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _quantize,
    "Squeeze": _squeeze,
    **dict.fromkeys(WINDOWED, _windowed),
}
