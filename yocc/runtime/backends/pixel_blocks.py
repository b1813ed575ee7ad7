"""Reading pictures as blocks of 2 x 2 pixels, for runtimes that gather what a convolution reads value by value.

A first layer with stride 2 sees three channels and many pixels. With each block of 2 x 2 pixels as one with four times
the channels, the same sums are those of a layer with stride 1 and half the kernel: the first layer of YOLOv5 before its
Focus became a convolution. The runtime copies a quarter as many runs, each four times as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.compiler.graph.padding import explicit_pads
from yocc.runtime.backends.blocks import Blocks, blocks_of, in_order
from yocc.runtime.backends.coded_layers import decoder_of, is_one_scale, zero_of

Array = np.ndarray[Any, Any]

BLOCK = 2
MOST_CHANNELS = 4
"""Layers that read more are not gathered value by value."""


@dataclass(frozen=True)
class Window:
    """A kernel with stride 2 along one axis, in blocks of two.

    Attributes:
        lead: zeros in front of the kernel, so that it begins with a block.
        blocks: that it covers.
        begin: blocks of padding in front.
        end: and behind; negative where the kernel does not reach the last ones.
    """

    lead: int
    blocks: int
    begin: int
    end: int

    @classmethod
    def of(cls, side: int, size: int, before: int, after: int) -> Window:
        """The blocks of a kernel over an even side, both counted in values, as the pads are."""
        begin = -(-before // BLOCK)
        lead = BLOCK * begin - before
        blocks = -(-(lead + size) // BLOCK)
        last = (side + before + after - size) // BLOCK
        return cls(lead, blocks, begin, last + blocks - begin - side // BLOCK)


def read_blocks(graph: Graph) -> int:
    """Let quantized convolutions of stride 2 that read pictures read blocks, in place; sums stay the same to the bit.

    Args:
        graph: a graph with Q/DQ pairs and shapes.

    Returns:
        The number of layers.
    """
    done = sum(_rewrite(graph, node) for node in list(graph.nodes) if node.op == "Conv" and sees_pixels(node))
    if done:
        refresh(graph)
    return done


def sees_pixels(node: gs.Node) -> bool:
    """Whether a layer reads few channels in even sides, with stride 2, a dense kernel and codes of its own."""
    attrs, shape = node.attrs, node.inputs[0].shape
    if attrs.get("group", 1) != 1 or list(attrs.get("strides", ())) != [BLOCK] * 2:
        return False
    if list(attrs.get("dilations", (1, 1))) != [1, 1] or shape is None or len(shape) != 4:
        return False
    if not all(isinstance(size, int) and size > 0 for size in shape[1:]) or shape[1] > MOST_CHANNELS:
        return False
    if shape[2] % BLOCK or shape[3] % BLOCK:
        return False
    decode, weight = decoder_of(node.inputs[0]), decoder_of(node.inputs[1])
    if decode is None or weight is None or not isinstance(weight.inputs[0], gs.Constant):
        return False
    if not is_one_scale(decode) or len(weight.inputs[0].outputs) > 1:
        return False
    return len(decode.outputs[0].outputs) == 1 and len(weight.outputs[0].outputs) == 1


def _rewrite(graph: Graph, node: gs.Node) -> bool:
    decode, weight_decode = node.inputs[0].inputs[0], node.inputs[1].inputs[0]
    weight = weight_decode.inputs[0]
    kernel, sides = weight.values.shape[2:], node.inputs[0].shape[2:]
    pads = explicit_pads(node, sides, kernel)
    windows = [Window.of(*along) for along in zip(sides, kernel, pads[:2], pads[2:], strict=True)]
    if min(window.end for window in windows) < 0:
        return False
    codes = in_order(_blocked(weight_decode, windows), decode.inputs[0], node.inputs[0].shape[1])
    weight_decode.inputs[0] = gs.Constant(f"{weight.name}_blocks", codes)
    for name in ("auto_pad", "kernel_shape"):
        node.attrs.pop(name, None)
    pads = [*(window.begin for window in windows), *(window.end for window in windows)]
    node.attrs |= {"kernel_shape": [window.blocks for window in windows], "strides": [1, 1], "pads": pads}
    put_blocks_before(graph, decode)
    return True


def _blocked(decode: gs.Node, windows: list[Window]) -> Array:
    """Codes [n, c, k, k] as [n, 4 c, k', k']: a block's row, its column, then the picture's channel."""
    weight = decode.inputs[0].values
    zero = zero_of(decode, weight).reshape(-1, 1, 1, 1)
    count, channels, height, width = weight.shape
    rows, columns = windows
    whole = np.empty((count, channels, BLOCK * rows.blocks, BLOCK * columns.blocks), weight.dtype)
    whole[:] = zero
    whole[:, :, rows.lead : rows.lead + height, columns.lead : columns.lead + width] = weight
    split = whole.reshape(count, channels, rows.blocks, BLOCK, columns.blocks, BLOCK)
    return np.ascontiguousarray(split.transpose(0, 3, 5, 1, 2, 4).reshape(count, -1, rows.blocks, columns.blocks))


def put_blocks_before(graph: Graph, decode: gs.Node) -> None:
    """Blocks in front of a DequantizeLinear, in place of the codes that it decodes."""
    decoded = decode.outputs[0]
    blocks = Blocks(decoded.name, tuple(decoded.shape[1:]), BLOCK, BLOCK)
    decode.inputs[0] = blocks_of(graph, decode.inputs[0], blocks)
