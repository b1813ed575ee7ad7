"""Reading pictures as blocks where the first layer is a pair of kernels along one axis each.

A layer k x 1 with stride 2 down and one 1 x k with stride 2 across see three channels first, value by value. In blocks,
the first gives its channels once for each column of a block, and the second reads them all. Most of the first one's
weights are zeros, and still it is faster: the runtime copies fewer runs, each longer.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.compiler.graph.decoding import constants_of
from yocc.compiler.graph.padding import explicit_pads
from yocc.runtime.backends.block_outputs import PAIR, can_pair, take_apart
from yocc.runtime.backends.blocked_kernels import Grid, blocked
from yocc.runtime.backends.blocks import in_order
from yocc.runtime.backends.coded_layers import codes_of, decoder_of, give_codes, is_one_scale, zero_of
from yocc.runtime.backends.pixel_blocks import MOST_CHANNELS, STRIDE, feed_blocks, place_kernel

Grids = tuple[Grid, Grid]


@dataclass(frozen=True)
class _Pair:
    """Two quantized layers.

    Attributes:
        first: its kernel has stride 2 along `axis` and one value along the other.
        second: its kernel has stride 2 along the other and one value along `axis`.
        between: what encodes and decodes the values between.
        axis: 0 is down, 1 is across.
    """

    first: gs.Node
    second: gs.Node
    between: tuple[gs.Node, gs.Node]
    axis: int

    def grids(self, outputs: int) -> tuple[Grids, Grids] | None:
        """Of both layers, where so many outputs side by side become one; None where blocks do not fit."""
        rows, columns = (1, STRIDE * outputs) if self.axis == 0 else (STRIDE, outputs)  # that the first one leaves
        first = _along(self.first, 0, STRIDE), _along(self.first, 1, STRIDE * outputs)
        second = _along(self.second, 0, rows), _along(self.second, 1, columns)
        return (first, second) if all(grid.fits for grid in (*first, *second)) else None


def read_blocks_in_pairs(graph: Graph) -> int:
    """Let such pairs read blocks, in place; sums stay the same to the bit.

    Args:
        graph: a graph with Q/DQ pairs and shapes.

    Returns:
        The number of pairs.
    """
    pairs = [pair for node in graph.nodes if node.op == "Conv" and (pair := _pair(node)) is not None]
    done = sum(_rewrite(graph, pair) for pair in pairs)
    if done:
        refresh(graph)
    return done


def _pair(first: gs.Node) -> _Pair | None:
    strides = list(first.attrs.get("strides", ()))
    if sorted(strides) != [1, STRIDE] or not _is_line(first, strides.index(STRIDE)):
        return None
    axis, shape = strides.index(STRIDE), first.inputs[0].shape
    if shape[1] > MOST_CHANNELS or shape[2] % STRIDE or shape[3] % STRIDE:
        return None
    decode = decoder_of(first.inputs[0])
    if decode is None or len(decode.outputs[0].outputs) > 1 or not is_one_scale(decode):
        return None
    between = _between(first)
    if between is None:
        return None
    second = between[1].outputs[0].outputs[0]
    if second.op != "Conv" or second.inputs[0] is not between[1].outputs[0]:
        return None
    if list(second.attrs.get("strides", ())) != strides[::-1] or not _is_line(second, 1 - axis):
        return None
    return _Pair(first, second, between, axis)


def _between(first: gs.Node) -> tuple[gs.Node, gs.Node] | None:
    """The quantization behind a layer, where one node reads it."""
    readers = first.outputs[0].outputs
    if len(readers) != 1 or readers[0].op != "QuantizeLinear" or len(readers[0].outputs[0].outputs) != 1:
        return None
    decode = readers[0].outputs[0].outputs[0]
    if decode.op != "DequantizeLinear" or len(decode.outputs[0].outputs) != 1:
        return None
    return (readers[0], decode) if is_one_scale(readers[0]) and is_one_scale(decode) else None


def _is_line(node: gs.Node, axis: int) -> bool:
    """Whether a dense layer of codes works along one axis alone, over known sides."""
    if node.attrs.get("group", 1) != 1 or list(node.attrs.get("dilations", (1, 1))) != [1, 1]:
        return False
    shape = node.inputs[0].shape
    if shape is None or len(shape) != 4 or not all(isinstance(size, int) and size > 0 for size in shape[1:]):
        return False
    if any(constants_of(tensor) is None for tensor in node.inputs[1:]) or isinstance(node.inputs[1], gs.Constant):
        return False
    if len(node.inputs[1].outputs) > 1:
        return False
    kernel = codes_of(node).shape[2:]
    pads = explicit_pads(node, shape[2:], kernel)
    return bool(kernel[1 - axis] == 1 and pads[1 - axis] == 0 and pads[3 - axis] == 0)


def _along(node: gs.Node, axis: int, read: int) -> Grid:
    """How a layer goes along an axis, in blocks of so many values."""
    sides, outputs, kernel = node.inputs[0].shape[2:], node.outputs[0].shape[2:], codes_of(node).shape[2:]
    before = explicit_pads(node, sides, kernel)[axis]
    return Grid(sides[axis], outputs[axis], kernel[axis], node.attrs["strides"][axis], before, read)


def _rewrite(graph: Graph, pair: _Pair) -> bool:
    paired = can_pair(graph, pair.second)
    found = pair.grids(PAIR) if paired else None
    if found is None:
        paired, found = False, pair.grids(1)
    if found is None:
        return False
    pictures = feed_blocks(graph, pair.first, found[0])
    for node, grids in zip((pair.first, pair.second), found, strict=True):
        codes = codes_of(node)
        kernel = blocked(codes, zero_of(node.inputs[1].inputs[0], codes), *grids)
        if node is pair.first:
            kernel = in_order(kernel, pictures, codes.shape[1])
        give_codes(graph, node, kernel, grids[0].written * grids[1].written)
        place_kernel(node, grids)
    for node in (pair.first, *pair.between):
        made = gs.Variable(f"{node.outputs[0].name}_blocks", node.outputs[0].dtype)
        reader = node.outputs[0].outputs[0]
        reader.inputs[0], node.outputs[0] = made, made
    if paired:
        take_apart(graph, pair.second)
    return True
