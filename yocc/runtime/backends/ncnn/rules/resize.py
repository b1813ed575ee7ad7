"""Resize: nearest where both worlds take the same elements, bilinear where they weigh them alike."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.format import Parameter
from yocc.runtime.backends.ncnn.lowering import Lowering, Refusal, Rule
from yocc.runtime.backends.nearest import taken

_NEAREST, _BILINEAR = 1, 2
_HINT = "Export linear with half_pixel or align_corners, or use --target onnxruntime or openvino."
_NEAREST_HINT = "Export asymmetric, floor, or use --target onnxruntime or openvino."


def _resize(lowering: Lowering, node: gs.Node) -> None:
    source, output = lowering.sample(node.inputs[0]), lowering.sample(node.outputs[0])
    if len(source) != 3 or source[0] != output[0]:
        raise Refusal("ncnn's Interp resizes rows and columns")
    if node.attrs.get("antialias", 0):
        raise Refusal("ncnn's Interp does not smooth what it shrinks")
    mode = node.attrs.get("mode", "nearest")
    coordinates = node.attrs.get("coordinate_transformation_mode", "half_pixel")
    if node.op == "Upsample":
        coordinates = "asymmetric"
    sizes = list(zip(source[1:], output[1:], strict=True))
    parameters: dict[int, Parameter] = {}
    if mode == "nearest":
        rounding = "floor" if node.op == "Upsample" else node.attrs.get("nearest_mode", "round_prefer_floor")
        if any(taken(*pair, coordinates, rounding) != _ncnn_takes(*pair) for pair in sizes):
            raise Refusal(f"ncnn's nearest Resize takes other neighbors than {coordinates}, {rounding}", _NEAREST_HINT)
        parameters[0] = _NEAREST
    elif mode == "linear" and coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        if coordinates == "pytorch_half_pixel" and 1 in output[1:]:
            raise Refusal("ncnn weighs a single row or column otherwise")
        parameters |= {0: _BILINEAR, 6: int(coordinates == "align_corners")}
    else:
        raise Refusal(f"ncnn has no {mode} Resize with {coordinates} coordinates", _HINT)
    parameters |= _size(sizes)
    lowering.add("Interp", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], parameters)


def _size(sizes: list[tuple[int, int]]) -> dict[int, Parameter]:
    """Factors where they are whole, so that the network takes pictures of other sizes too; else the size itself."""
    if all(after % before == 0 for before, after in sizes):
        return {1: float(sizes[0][1] // sizes[0][0]), 2: float(sizes[1][1] // sizes[1][0])}
    return {3: sizes[0][1], 4: sizes[1][1]}


def _ncnn_takes(before: int, after: int) -> list[int]:
    return [min(int(place * before / after), before - 1) for place in range(after)]


RULES: Mapping[str, Rule] = MappingProxyType({"Resize": _resize, "Upsample": _resize})
