"""Computing two outputs side by side as one, for runtimes that take as long to gather inputs as to multiply them.

A first layer with stride 2 gives few channels at many places. Two outputs beside each other see a window that is two
pixels wider than one's. In blocks of 2 x 4 pixels, the first of which begins where the padding does, the window is a
kernel with stride 1: a layer with twice the channels at half the places, and the same sums. With channels last its
outputs lie in memory as they did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.compiler.graph.decoding import constants_of
from yocc.compiler.graph.padding import explicit_pads
from yocc.runtime.backends.blocks import Blocks, blocks_of, in_order
from yocc.runtime.backends.coded_layers import codes_of, give_codes, is_one_scale, zero_of
from yocc.runtime.backends.pixel_blocks import sees_pixels
from yocc.runtime.backends.rewriting import TO_FIRST, TO_LAST, reshape_to

Array = np.ndarray[Any, Any]

PAIR = 2
"""Outputs that become one."""
BLOCK = (2, 4)
"""Rows and columns of a block: as far as one output is from the next, down, and as far as two are, across."""
MOST_OUTPUTS = 48
"""Layers with more are as fast one by one."""
_ABSORBED = ("Relu", "Clip")


@dataclass(frozen=True)
class Span:
    """A kernel along one axis, in blocks.

    Attributes:
        block: its pixels.
        blocks: that the window covers.
        places: where it is put.
        begin: pixels of padding in front.
        end: and behind; negative where the window does not reach the last pixels.
    """

    block: int
    blocks: int
    places: int
    begin: int
    end: int

    @property
    def padded(self) -> int:
        """Pixels with the padding."""
        return self.block * (self.places + self.blocks - 1)

    @classmethod
    def of(cls, side: int, window: int, block: int, outputs: int, begin: int) -> Span | None:
        """The blocks of a window that goes on by one each time; None where it does not reach the last pixels.

        Args:
            side: pixels of the picture.
            window: pixels that are seen at once.
            block: pixels of a block.
            outputs: places.
            begin: pixels of padding in front.
        """
        blocks = -(-window // block)
        end = block * (outputs - 1 + blocks) - side - begin
        return None if end < 0 else cls(block, blocks, outputs, begin, end)


def compute_in_pairs(graph: Graph) -> int:
    """Rewrite quantized convolutions of stride 2 that read pictures, in place; sums stay the same to the bit.

    Args:
        graph: a graph with Q/DQ pairs and shapes.

    Returns:
        The number of layers.
    """
    if graph.opset < 13:  # the first that pads bytes everywhere
        return 0
    done = sum(_rewrite(graph, node) for node in list(graph.nodes) if node.op == "Conv" and _fits(graph, node))
    if done:
        refresh(graph)
    return done


def _fits(graph: Graph, node: gs.Node) -> bool:
    """Whether a layer that sees pixels gives few channels, in an even number of columns, to one quantization."""
    if not sees_pixels(node) or not 1 < codes_of(node).shape[0] <= MOST_OUTPUTS:
        return False
    if any(constants_of(tensor) is None for tensor in node.inputs[1:]) or _quantization(graph, node) is None:
        return False
    shape = node.outputs[0].shape
    return shape is not None and all(isinstance(size, int) for size in shape[1:]) and shape[3] % PAIR == 0


def _quantization(graph: Graph, node: gs.Node) -> gs.Node | None:
    """The QuantizeLinear with one scale that alone reads a layer, perhaps behind an activation that it absorbs."""
    tensor = node.outputs[0]
    for _ in range(2):
        reader = tensor.outputs[0] if len(tensor.outputs) == 1 else None
        if reader is None or any(tensor is output for output in graph.outputs):
            return None
        if reader.op == "QuantizeLinear":
            return reader if is_one_scale(reader) else None
        if reader.op not in _ABSORBED:
            return None
        tensor = reader.outputs[0]
    return None


def _rewrite(graph: Graph, node: gs.Node) -> bool:
    spans, quantize = _spans(node), _quantization(graph, node)
    if spans is None or quantize is None:
        return False
    decode = node.inputs[0].inputs[0]
    result, reader = node.outputs[0], node.outputs[0].outputs[0]
    fed, channels = gs.Variable(f"{decode.outputs[0].name}_paired", decode.outputs[0].dtype), node.inputs[0].shape[1]
    padded = _padded(graph, decode, spans, fed.name)
    blocks = Blocks(fed.name, (channels, spans[0].padded, spans[1].padded), *BLOCK)
    decode.inputs[0] = blocks_of(graph, padded, blocks)
    give_codes(graph, node, in_order(_blocked(node, spans), padded, channels), PAIR)
    for name in ("auto_pad", "kernel_shape"):
        node.attrs.pop(name, None)
    node.attrs |= {"kernel_shape": [span.blocks for span in spans], "strides": [1, 1], "pads": [0, 0, 0, 0]}
    decode.outputs[0], node.inputs[0] = fed, fed
    pairs = gs.Variable(f"{node.name}_pairs", result.dtype)
    node.outputs[0], reader.inputs[0] = pairs, pairs
    _taken_apart(graph, quantize, result.shape)
    return True


def _spans(node: gs.Node) -> tuple[Span, Span] | None:
    """Down and across; None where a window does not reach the last pixels."""
    kernel, sides, outputs = codes_of(node).shape[2:], node.inputs[0].shape[2:], node.outputs[0].shape[2:]
    pads = explicit_pads(node, sides, kernel)
    down = Span.of(sides[0], kernel[0], BLOCK[0], outputs[0], pads[0])
    across = Span.of(sides[1], kernel[1] + PAIR, BLOCK[1], outputs[1] // PAIR, pads[1])
    return None if down is None or across is None else (down, across)


def _blocked(node: gs.Node, spans: tuple[Span, Span]) -> Array:
    """Codes [n, c, h, w] as [2 n, 8 c, h', w']: first of the left output, then of the right one.

    Blocks have their row first, their column, then the channels.
    """
    codes, (down, across) = codes_of(node), spans
    zero = zero_of(node.inputs[1].inputs[0], codes).reshape(-1, 1, 1, 1)
    count, channels, height, width = codes.shape
    whole = np.empty((PAIR, count, channels, BLOCK[0] * down.blocks, BLOCK[1] * across.blocks), codes.dtype)
    whole[:] = zero
    for place in range(PAIR):
        whole[place, :, :, :height, PAIR * place : PAIR * place + width] = codes
    split = whole.reshape(PAIR * count, channels, down.blocks, BLOCK[0], across.blocks, BLOCK[1])
    return split.transpose(0, 3, 5, 1, 2, 4).reshape(PAIR * count, -1, down.blocks, across.blocks)


def _padded(graph: Graph, decode: gs.Node, spans: tuple[Span, Span], name: str) -> gs.Tensor:
    """The codes that a DequantizeLinear decodes, with a margin of zeros."""
    codes, (down, across) = decode.inputs[0], spans
    pads = [0, 0, down.begin, across.begin, 0, 0, down.end, across.end]
    if not any(pads):
        return codes
    made = gs.Variable(f"{name}_padded", codes.dtype)
    widths = gs.Constant(f"{made.name}_pads", np.array(pads, np.int64))
    dtype = decode.inputs[2].dtype if len(decode.inputs) > 2 else np.uint8
    zero = gs.Constant(f"{made.name}_zero", zero_of(decode, np.empty(0, dtype)).reshape(()))
    graph.nodes.append(gs.Node("Pad", made.name, {}, [codes, widths, zero], [made]))
    return made


def _taken_apart(graph: Graph, quantize: gs.Node, shape: list[int]) -> None:
    """Put the two outputs of each place side by side, behind their quantization."""
    result = quantize.outputs[0]
    _, channels, height, width = shape
    pairs, last, apart = (gs.Variable(f"{result.name}_{suffix}", result.dtype) for suffix in ("pairs", "last", "apart"))
    quantize.outputs[0] = pairs
    graph.nodes += [
        gs.Node("Transpose", last.name, {"perm": TO_LAST}, [pairs], [last]),
        reshape_to(last, (-1, height, width, channels), apart),
        gs.Node("Transpose", f"{result.name}_first", {"perm": TO_FIRST}, [apart], [result]),
    ]
