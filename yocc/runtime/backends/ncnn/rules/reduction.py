"""Sums, means, extremes along axes, and softmax."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.format import Parameter
from yocc.runtime.backends.ncnn.lowering import Lowering, Refusal, Rule

_KINDS = {
    "ReduceSum": 0,
    "ReduceSumSquare": 2,
    "ReduceMean": 3,
    "ReduceMax": 4,
    "ReduceMin": 5,
    "ReduceProd": 6,
    "ReduceL1": 7,
    "ReduceL2": 8,
}


def _reduce(lowering: Lowering, node: gs.Node) -> None:
    source = lowering.dims(node.inputs[0])
    stated = node.attrs.get("axes")
    found = lowering.parameter(node, 1) if stated is None else None
    if stated is None and found is None:
        raise Refusal(f"this {node.op} reduces the batch axis too", "Give it axes.")
    axes = [int(axis) for axis in (stated if stated is not None else found.reshape(-1))]  # type: ignore[union-attr] # one is there
    places = tuple(sorted(lowering.axis(node, axis, len(source) + 1) for axis in axes))
    lowering.dims(node.outputs[0])
    # The layer keeps its axes; a Reshape drops them where the graph does.
    kept = bool(node.attrs.get("keepdims", 1))
    result = node.outputs[0].name if kept else lowering.fresh(node.outputs[0].name)
    parameters: dict[int, Parameter] = {0: _KINDS[node.op], 1: 0, 3: places, 4: 1, 5: 1}
    lowering.add("Reduction", node.name, [lowering.blob(node.inputs[0])], [result], parameters)
    if not kept:
        lowering.reshape(f"{node.name}_axes", result, lowering.dims(node.outputs[0]), node.outputs[0].name)


def _softmax(lowering: Lowering, node: gs.Node) -> None:
    source = lowering.dims(node.inputs[0])
    axis = lowering.axis(node, int(node.attrs.get("axis", -1)), len(source) + 1)
    lowering.add("Softmax", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], {0: axis, 1: 1})


RULES: Mapping[str, Rule] = MappingProxyType({**dict.fromkeys(_KINDS, _reduce), "Softmax": _softmax})
