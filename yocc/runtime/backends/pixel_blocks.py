"""Reading pictures as blocks of pixels, for runtimes that take as long to gather inputs as to multiply them.

A first layer with stride 2 sees three channels and many pixels. With each block of 2 x 2 pixels as one with four times
the channels, the same sums are those of a layer with stride 1 and half the kernel: the first layer of YOLOv5 before its
Focus became a convolution. With blocks of 2 x 4 they are those of two outputs side by side, as one with twice the
channels at half the places. The runtime copies fewer runs, each longer.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.compiler.graph.decoding import constants_of
from yocc.compiler.graph.padding import explicit_pads
from yocc.runtime.backends.block_outputs import PAIR, can_pair, take_apart
from yocc.runtime.backends.blocked_kernels import Grid, blocked
from yocc.runtime.backends.blocks import Blocks, blocks_of, in_order
from yocc.runtime.backends.coded_layers import codes_of, decoder_of, give_codes, is_one_scale, zero_of
from yocc.runtime.backends.rewriting import picture_shape

STRIDE = 2
MOST_CHANNELS = 4
"""Layers that read more are not gathered value by value."""


def read_blocks(graph: Graph, *, paired: bool = True) -> int:
    """Let quantized convolutions of stride 2 that read pictures read blocks, in place; sums stay the same to the bit.

    Args:
        graph: a graph with Q/DQ pairs and shapes.
        paired: whether two outputs side by side may be computed as one.

    Returns:
        The number of layers.
    """
    seen = [node for node in graph.nodes if node.op == "Conv" and _sees_pixels(node)]
    done = sum(_rewrite(graph, node, paired=paired) for node in seen)
    if done:
        refresh(graph)
    return done


def _sees_pixels(node: gs.Node) -> bool:
    """Whether a layer reads few channels in even sides, with stride 2, a dense kernel and codes of its own."""
    attrs, shape = node.attrs, picture_shape(node.inputs[0])
    if attrs.get("group", 1) != 1 or list(attrs.get("strides", ())) != [STRIDE] * 2:
        return False
    if list(attrs.get("dilations", (1, 1))) != [1, 1] or not shape or shape[0] > MOST_CHANNELS:
        return False
    if shape[1] % STRIDE or shape[2] % STRIDE or any(constants_of(tensor) is None for tensor in node.inputs[1:]):
        return False
    decode, weight = decoder_of(node.inputs[0]), decoder_of(node.inputs[1])
    if decode is None or weight is None or not is_one_scale(decode) or len(weight.inputs[0].outputs) > 1:
        return False
    return len(decode.outputs[0].outputs) == 1 and len(weight.outputs[0].outputs) == 1


def _rewrite(graph: Graph, node: gs.Node, *, paired: bool) -> bool:
    paired = paired and can_pair(graph, node)
    grids = _grids(node, STRIDE * PAIR) if paired else None
    if grids is None:
        paired, grids = False, _grids(node, STRIDE)
    if grids is None:
        return False
    outputs, codes = PAIR if paired else 1, codes_of(node)
    kernel = blocked(codes, zero_of(node.inputs[1].inputs[0], codes), *grids)
    pictures = feed_blocks(graph, node, grids)
    give_codes(graph, node, in_order(kernel, pictures, codes.shape[1]), outputs)
    place_kernel(node, grids)
    if paired:
        take_apart(graph, node)
    return True


def _grids(node: gs.Node, across: int) -> tuple[Grid, Grid] | None:
    """Down and across, with blocks so many pixels wide that begin with the padding where that makes kernels smaller."""
    kernel, sides, outputs = codes_of(node).shape[2:], node.inputs[0].shape[2:], node.outputs[0].shape[2:]
    pads = explicit_pads(node, sides, kernel)
    plain = [
        Grid(side, count, size, STRIDE, before, read)
        for side, count, size, before, read in zip(
            sides, outputs, kernel, pads[:2], (STRIDE, across), strict=True
        )
    ]  # fmt: skip
    down, right = (_smaller(grid) for grid in plain)
    return (down, right) if down.fits and right.fits else None


def _smaller(grid: Grid) -> Grid:
    if grid.outputs % grid.written:
        return grid
    aligned = grid.aligned
    if aligned.side < grid.side + grid.before or (grid.fits and grid.blocks <= aligned.blocks):
        return grid
    return aligned


def feed_blocks(graph: Graph, node: gs.Node, grids: tuple[Grid, Grid]) -> gs.Tensor:
    """Let a layer read blocks, of a picture of codes that is padded where grids begin with the padding.

    Returns:
        The codes that blocks are made of.
    """
    fed, decode = node.inputs[0], node.inputs[0].inputs[0]
    channels, sides = fed.shape[1], fed.shape[2:]
    pads = explicit_pads(node, sides, codes_of(node).shape[2:])[:2]
    begins = [pad if grid.side != side else 0 for grid, side, pad in zip(grids, sides, pads, strict=True)]
    ends = [grid.side - side - begin for grid, side, begin in zip(grids, sides, begins, strict=True)]
    made = gs.Variable(f"{fed.name}_blocks", fed.dtype)
    pictures = _padded(graph, decode, made.name, [0, 0, *begins, 0, 0, *ends])
    blocks = Blocks(made.name, (channels, grids[0].side, grids[1].side), grids[0].read, grids[1].read)
    decode.inputs[0] = blocks_of(graph, pictures, blocks)
    decode.outputs[0], node.inputs[0] = made, made
    return pictures


def _padded(graph: Graph, decode: gs.Node, name: str, pads: list[int]) -> gs.Tensor:
    codes = decode.inputs[0]
    if not any(pads):
        return codes
    made = gs.Variable(f"{name}_padded", codes.dtype)
    widths = gs.Constant(f"{made.name}_pads", np.array(pads, np.int64))
    dtype = decode.inputs[2].dtype if len(decode.inputs) > 2 else np.uint8
    zero = gs.Constant(f"{made.name}_zero", zero_of(decode, np.empty(0, dtype)).reshape(()))
    graph.nodes.append(gs.Node("Pad", made.name, {}, [codes, widths, zero], [made]))
    return made


def place_kernel(node: gs.Node, grids: tuple[Grid, Grid]) -> None:
    """Let a layer go over blocks one by one."""
    node.attrs.pop("auto_pad", None)
    pads = [*(grid.begin for grid in grids), *(grid.end for grid in grids)]
    node.attrs |= {"kernel_shape": [grid.blocks for grid in grids], "strides": [1, 1], "pads": pads}
