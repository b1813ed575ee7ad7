"""Pooling over windows and over whole maps."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import onnx_graphsurgeon as gs

from yocc.compiler.graph.padding import explicit_pads
from yocc.runtime.backends.ncnn.format import Parameter
from yocc.runtime.backends.ncnn.lowering import Lowering, Refusal, Rule

_MAX, _AVERAGE = 0, 1
_CEIL, _FLOOR = 0, 1


def _window(lowering: Lowering, node: gs.Node) -> None:
    source, output = lowering.sample(node.inputs[0]), lowering.sample(node.outputs[0])
    kernel = [int(one) for one in node.attrs["kernel_shape"]]
    strides = [int(one) for one in node.attrs.get("strides", (1, 1))]
    if len(kernel) != 2 or any(int(one) != 1 for one in node.attrs.get("dilations", (1, 1))):
        raise Refusal("ncnn pools two spatial axes without dilation")
    if len(node.outputs) > 1:
        raise Refusal("ncnn's Pooling does not tell where the largest value was")
    pads = explicit_pads(node, source[1:], kernel)
    rounding = _rounding(source[1:], output[1:], kernel, strides, pads)
    average = node.op == "AveragePool"
    if average and rounding == _CEIL:
        raise Refusal("ncnn counts what lies outside in averages of windows that reach over the edge")
    parameters: dict[int, Parameter] = {
        0: _AVERAGE if average else _MAX,
        1: kernel[1],
        11: kernel[0],
        2: strides[1],
        12: strides[0],
        3: pads[1],
        13: pads[0],
        14: pads[3],
        15: pads[2],
        5: rounding,
        6: int(node.attrs.get("count_include_pad", 0)),
    }
    lowering.add("Pooling", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], parameters)


def _rounding(
    source: tuple[int, ...], output: tuple[int, ...], kernel: list[int], strides: list[int], pads: list[int]
) -> int:
    """Whether windows end inside (floor) or one more reaches over the edge (ceil); where both agree, floor."""
    room = [size + pads[axis] + pads[axis + 2] - kernel[axis] for axis, size in enumerate(source)]
    if tuple(space // strides[axis] + 1 for axis, space in enumerate(room)) == output:
        return _FLOOR
    if tuple(-(-space // strides[axis]) + 1 for axis, space in enumerate(room)) == output:
        return _CEIL
    raise Refusal("its output has another size than ncnn's Pooling gives")


def _global(lowering: Lowering, node: gs.Node) -> None:
    output = lowering.sample(node.outputs[0])
    flat = lowering.fresh(node.outputs[0].name)
    kind = _AVERAGE if node.op == "GlobalAveragePool" else _MAX
    lowering.add("Pooling", node.name, [lowering.blob(node.inputs[0])], [flat], {0: kind, 4: 1})
    lowering.reshape(f"{node.name}_axes", flat, output, node.outputs[0].name)


RULES: Mapping[str, Rule] = MappingProxyType(
    {"MaxPool": _window, "AveragePool": _window, "GlobalAveragePool": _global, "GlobalMaxPool": _global}
)
