"""Reading pictures as blocks of 2 x 2 pixels where the first layer is a pair of kernels along one axis each.

A layer k x 1 with stride 2 down and one 1 x k with stride 2 across see three channels first, value by value. In blocks,
the first gives its channels twice, for the left and the right pixels of each block, and the second reads both. Half of
the first one's weights are zeros, and still it is faster: the runtime copies runs four times as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.compiler.graph.decoding import constants_of
from yocc.compiler.graph.padding import explicit_pads
from yocc.runtime.backends.blocks import in_order
from yocc.runtime.backends.coded_layers import codes_of, decoder_of, give_codes, is_one_scale, zero_of
from yocc.runtime.backends.pixel_blocks import BLOCK, MOST_CHANNELS, Window, put_blocks_before

Array = np.ndarray[Any, Any]


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

    def window(self, node: gs.Node, axis: int) -> Window:
        """Of one of the two, along its axis."""
        sides, kernel = node.inputs[0].shape[2:], codes_of(node).shape[2:]
        pads = explicit_pads(node, sides, kernel)
        return Window.of(sides[axis], kernel[axis], pads[axis], pads[2 + axis])


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
    if sorted(strides) != [1, BLOCK] or not _is_line(first, strides.index(BLOCK)):
        return None
    axis, shape = strides.index(BLOCK), first.inputs[0].shape
    if shape[1] > MOST_CHANNELS or shape[2] % BLOCK or shape[3] % BLOCK:
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


def _rewrite(graph: Graph, pair: _Pair) -> bool:
    axis, other = pair.axis, 1 - pair.axis
    down, across = pair.window(pair.first, axis), pair.window(pair.second, other)
    if min(down.end, across.end) < 0:
        return False
    decode = pair.first.inputs[0].inputs[0]
    doubled = in_order(_doubled(pair, down), decode.inputs[0], decode.outputs[0].shape[1])
    _replace(graph, pair.first, doubled, down, axis, twice=True)
    _replace(graph, pair.second, _paired(pair, across), across, other, twice=False)
    for node in (pair.first, *pair.between):
        made = gs.Variable(f"{node.outputs[0].name}_blocks", node.outputs[0].dtype)
        reader = node.outputs[0].outputs[0]
        reader.inputs[0], node.outputs[0] = made, made
    put_blocks_before(graph, decode)
    return True


def _doubled(pair: _Pair, window: Window) -> Array:
    """The first layer's codes [r, c, k] as [2 r, 4 c, k']: for each of two pixels beside each other, 0 for the other.

    Blocks have their row first, their column, then the channels.
    """
    codes, zero = _line(pair.first, pair.axis)
    rank, channels, size = codes.shape
    whole = np.empty((rank, channels, BLOCK * window.blocks), codes.dtype)
    whole[:] = zero[:, None, None]
    whole[:, :, window.lead : window.lead + size] = codes
    split = whole.reshape(rank, channels, window.blocks, BLOCK).transpose(0, 3, 1, 2)
    made = np.empty((BLOCK, rank, BLOCK, BLOCK, channels, window.blocks), codes.dtype)
    made[:] = zero[:, None, None, None, None]
    for pixel in range(BLOCK):
        if pair.axis == 0:
            made[pixel, :, :, pixel] = split
        else:
            made[pixel, :, pixel, :] = split
    return made.reshape(BLOCK * rank, -1, window.blocks)


def _paired(pair: _Pair, window: Window) -> Array:
    """The second layer's codes [n, r, k] as [n, 2 r, k']."""
    codes, zero = _line(pair.second, 1 - pair.axis)
    outputs, rank, size = codes.shape
    whole = np.empty((outputs, rank, BLOCK * window.blocks), codes.dtype)
    whole[:] = zero[:, None, None]
    whole[:, :, window.lead : window.lead + size] = codes
    split = whole.reshape(outputs, rank, window.blocks, BLOCK).transpose(0, 3, 1, 2)
    return split.reshape(outputs, -1, window.blocks)


def _line(node: gs.Node, axis: int) -> tuple[Array, Array]:
    """Codes along one axis, and the zero of each output."""
    codes = codes_of(node)
    zero = zero_of(node.inputs[1].inputs[0], codes)
    return codes.squeeze(3 - axis), np.broadcast_to(zero.reshape(-1), len(codes))


def _replace(graph: Graph, node: gs.Node, codes: Array, window: Window, axis: int, *, twice: bool) -> None:
    """Give a layer codes over blocks; where its outputs are there twice, their scales and biases are as well."""
    give_codes(graph, node, np.expand_dims(codes, 3 - axis), BLOCK if twice else 1)
    node.attrs.pop("auto_pad", None)
    shape, pads = [1, 1], [0, 0, 0, 0]
    shape[axis], pads[axis], pads[2 + axis] = window.blocks, window.begin, window.end
    node.attrs |= {"kernel_shape": shape, "strides": [1, 1], "pads": pads}
