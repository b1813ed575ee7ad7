"""Sums, means, extremes along axes and where they are, and softmax."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.axes import blob_axes
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
    "ReduceLogSum": 9,
    "ReduceLogSumExp": 10,
}
_SUBTRACT, _MULTIPLY, _SUBTRACT_FROM, _NEGATE = 1, 2, 7, 1
_BELOW_ZERO = -1e-30
"""Greater than any difference of two values but none; small enough that values of a softmax differ by more."""


def _reduce(lowering: Lowering, node: gs.Node) -> None:
    tensor, output = node.inputs[0], node.outputs[0]
    shape, source = lowering.shape(tensor), lowering.sizes(tensor)
    stated = node.attrs.get("axes")
    found = lowering.parameter(node, 1) if stated is None else None
    if stated is None and found is None:
        if node.attrs.get("noop_with_empty_axes", 0):
            raise Refusal(f"this {node.op} names no axes")
        stated = range(len(shape))
    axes = {int(axis) % len(shape) for axis in (stated if stated is not None else found.reshape(-1))}  # type: ignore[union-attr] # one is there
    own = blob_axes(shape) or ()
    # Reducing an axis of size 1 that the blob does not have changes nothing but signs and squares.
    places = tuple(place for place, axis in enumerate(own) if axis in axes)
    if not places:
        places = (0,) if source[0] == 1 else ()
    if not places:
        raise Refusal(f"this {node.op} works along an axis of size 1 that ncnn's blob does not have")
    # The layer keeps its axes; a Reshape drops them where the graph does.
    written = lowering.result(output, tuple(1 if place in places else size for place, size in enumerate(source)))
    parameters: dict[int, Parameter] = {0: _KINDS[node.op], 1: 0, 3: places, 4: 1, 5: 1}
    lowering.add("Reduction", node.name, [lowering.blob(tensor)], [written], parameters)
    lowering.settle(f"{node.name}_axes", written, output)


def _softmax(lowering: Lowering, node: gs.Node) -> None:
    place = lowering.place(node, node.inputs[0], int(node.attrs.get("axis", -1)))
    lowering.add("Softmax", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], {0: place, 1: 1})


def _log_softmax(lowering: Lowering, node: gs.Node) -> None:
    """What is left after the logarithm of the sum of exponentials, of values whose largest is 0."""
    place = lowering.place(node, node.inputs[0], int(node.attrs.get("axis", -1)))
    blob, output = lowering.blob(node.inputs[0]), node.outputs[0].name
    largest, shifted, total = (lowering.fresh(output) for _ in range(3))
    for what, source, result in (("ReduceMax", blob, largest), ("ReduceLogSumExp", shifted, total)):
        if what == "ReduceLogSumExp":
            lowering.add("BinaryOp", f"{node.name}_shift", [blob, largest], [shifted], {0: _SUBTRACT})
        parameters: dict[int, Parameter] = {0: _KINDS[what], 1: 0, 3: (place,), 4: 1, 5: 1}
        lowering.add("Reduction", f"{node.name}_{what}", [source], [result], parameters)
    lowering.add("BinaryOp", node.name, [shifted, total], [output], {0: _SUBTRACT})


def _arg(lowering: Lowering, node: gs.Node) -> None:
    """Where the largest or smallest value is, as floats: ncnn's own ArgMax knows no axes.

    What equals the largest is 1, all else 0. This times numbers that fall along the axis (for the first place) or rise
    (for the last) is largest there. Places are exact to 2^24, in half precision to 2^11.
    """
    tensor, output = node.inputs[0], node.outputs[0]
    place = lowering.place(node, tensor, int(node.attrs.get("axis", 0)))
    sizes, name = lowering.sizes(tensor), node.name
    length = sizes[place]
    is_last = bool(node.attrs.get("select_last_index", 0))

    def made(kind: str, what: str, inputs: list[str], parameters: Mapping[int, Parameter]) -> str:
        result = lowering.fresh(output.name)
        lowering.add(kind, f"{name}_{what}", inputs, [result], parameters)
        return result

    blob = lowering.blob(tensor)
    if node.op == "ArgMin":
        blob = made("UnaryOp", "negated", [blob], {0: _NEGATE})
    extreme: dict[int, Parameter] = {0: _KINDS["ReduceMax"], 1: 0, 3: (place,), 4: 1, 5: 1}
    behind = made("BinaryOp", "behind", [blob, made("Reduction", "largest", [blob], extreme)], {0: _SUBTRACT})
    is_there = made("Threshold", "is_there", [behind], {0: _BELOW_ZERO})
    numbers = np.arange(1, length + 1) if is_last else np.arange(length, 0, -1)
    shape = [length if axis == place else 1 for axis in range(len(sizes))]
    numbered = lowering.constant(f"{name}_numbers", numbers.reshape(shape))
    found = made("Reduction", "found", [made("BinaryOp", "numbered", [is_there, numbered], {0: _MULTIPLY})], extreme)
    written = lowering.result(output, tuple(1 if axis == place else size for axis, size in enumerate(sizes)))
    kind, number = (_SUBTRACT, 1.0) if is_last else (_SUBTRACT_FROM, float(length))
    lowering.add("BinaryOp", name, [found], [written], {0: kind, 1: 1, 2: number})
    lowering.settle(f"{name}_axes", written, output)


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(_KINDS, _reduce),
        **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
        "Softmax": _softmax,
        "LogSoftmax": _log_softmax,
    }
)
