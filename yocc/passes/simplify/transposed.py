"""ConvTranspose whose pads follow from the size of its output: as stated pads, which every runtime reads alike."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.padding import transposed_pads

_DERIVED = ("auto_pad", "output_shape")


def stated_pads(graph: Graph) -> int:
    """Write what `output_shape` and `auto_pad` mean into the pads of each ConvTranspose of known sizes.

    Returns:
        How many nodes were changed.
    """
    return sum(_state(node) for node in graph.nodes if node.op == "ConvTranspose" and not node.domain)


def _state(node: gs.Node) -> bool:
    automatic = node.attrs.get("auto_pad", "NOTSET")
    if automatic == "NOTSET" and "output_shape" not in node.attrs:
        return False
    if "output_shape" not in node.attrs and any(node.attrs.get("output_padding", ())):
        return False  # onnx and onnxruntime do not agree on the size of that
    sides, outputs, kernel = (_spatial(tensor) for tensor in (node.inputs[0], node.outputs[0], node.inputs[1]))
    if sides is None or outputs is None or kernel is None:
        return False
    pads = transposed_pads(node, sides, kernel, outputs)
    if _sides(node, sides, kernel, pads) != list(outputs):  # it ends in more zeros than any pads leave
        return False
    for name in _DERIVED:
        node.attrs.pop(name, None)
    node.attrs["pads"] = pads
    return True


def _sides(node: gs.Node, sides: Sequence[int], kernel: Sequence[int], pads: Sequence[int]) -> list[int]:
    """Spatial sides of what a ConvTranspose with these pads gives."""
    rank = len(kernel)
    strides, dilations, more = (
        node.attrs.get(name, [default] * rank)
        for name, default in (("strides", 1), ("dilations", 1), ("output_padding", 0))
    )
    return [
        stride * (side - 1) + extra + (size - 1) * dilation + 1 - begin - end
        for side, size, stride, dilation, extra, begin, end in zip(
            sides, kernel, strides, dilations, more, pads[:rank], pads[rank:], strict=True
        )
    ]


def _spatial(tensor: gs.Tensor) -> list[int] | None:
    """The sizes behind the first two axes; None where one of them is open."""
    sizes = None if tensor.shape is None else list(tensor.shape)[2:]
    return sizes if sizes and all(isinstance(size, int) for size in sizes) else None
