"""The margins a convolution or a pooling puts around its input, however its node states them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs


def explicit_pads(node: gs.Node, sides: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Pads of a Conv or pooling as its attribute `pads` would state them: all beginnings, then all ends.

    `SAME_UPPER` and `SAME_LOWER` make an output of the side divided by the stride, rounded up; what an odd sum leaves
    over goes to the end for the one and to the beginning for the other. `VALID` pads nothing.

    Args:
        node: a Conv or pooling; not a ConvTranspose, whose automatic pads depend on its output.
        sides: spatial sides of its input.
        kernel: spatial sides of its kernel.
    """
    rank = len(kernel)
    automatic = node.attrs.get("auto_pad", "NOTSET")
    if automatic == "NOTSET":
        return [int(pad) for pad in node.attrs.get("pads", [0] * 2 * rank)]
    if automatic == "VALID":
        return [0] * 2 * rank
    strides, dilations = (node.attrs.get(name, [1] * rank) for name in ("strides", "dilations"))
    missing = [
        max(0, (-(-side // stride) - 1) * stride + (size - 1) * dilation + 1 - side)
        for side, size, stride, dilation in zip(sides, kernel, strides, dilations, strict=True)
    ]
    smaller = [total // 2 for total in missing]
    larger = [total - total // 2 for total in missing]
    return smaller + larger if automatic == "SAME_UPPER" else larger + smaller


def transposed_pads(node: gs.Node, sides: Sequence[int], kernel: Sequence[int], outputs: Sequence[int]) -> list[int]:
    """What a ConvTranspose takes off its full output, as its attribute `pads` would state it.

    Args:
        node: a ConvTranspose; automatic pads and a stated `output_shape` are read.
        sides: spatial sides of its input.
        kernel: spatial sides of its kernel.
        outputs: spatial sides of its output.
    """
    rank = len(kernel)
    automatic = node.attrs.get("auto_pad", "NOTSET")
    if automatic in ("NOTSET", "VALID") and "output_shape" not in node.attrs:
        return [int(pad) for pad in node.attrs.get("pads", [0] * 2 * rank)] if automatic == "NOTSET" else [0] * 2 * rank
    strides, dilations, more = (
        node.attrs.get(name, [default] * rank)
        for name, default in (("strides", 1), ("dilations", 1), ("output_padding", 0))
    )
    total = [
        max(0, stride * (side - 1) + extra + (size - 1) * dilation + 1 - out)
        for side, size, stride, dilation, extra, out in zip(
            sides, kernel, strides, dilations, more, outputs, strict=True
        )
    ]
    smaller = [pads // 2 for pads in total]
    larger = [pads - pads // 2 for pads in total]
    return smaller + larger if automatic == "SAME_UPPER" else larger + smaller
