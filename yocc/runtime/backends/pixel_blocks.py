"""Reading pictures as blocks of 2 x 2 pixels, for runtimes that gather what a convolution reads value by value.

A first layer with stride 2 sees three channels and many pixels. SpaceToDepth makes of each block of 2 x 2 pixels one
with four times the channels, and the same sums are those of a layer with stride 1 and half the kernel: the first layer
of YOLOv5 before its Focus became a convolution. The runtime copies a quarter as many runs, each four times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.compiler.graph.padding import explicit_pads

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
    """Put SpaceToDepth before quantized convolutions of stride 2 that read pictures, in place.

    Sums stay the same to the bit. What is rearranged is the float tensor before its quantization. Bytes are rearranged
    by copying runs of two pixels, as onnxruntime runs SpaceToDepth on bytes from recent versions on only.

    Args:
        graph: a graph with Q/DQ pairs and shapes.

    Returns:
        The number of layers.
    """
    done = sum(_rewrite(graph, node) for node in list(graph.nodes) if node.op == "Conv" and _fits(node))
    if done:
        refresh(graph)
    return done


def _fits(node: gs.Node) -> bool:
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
    if any(value.size != 1 for value in _parameters(decode)) or len(weight.inputs[0].outputs) > 1:
        return False
    return len(decode.outputs[0].outputs) == 1 and len(weight.outputs[0].outputs) == 1


def decoder_of(tensor: gs.Tensor) -> gs.Node | None:
    """The DequantizeLinear with constant scale and zero point that makes a tensor."""
    maker = tensor.inputs[0] if tensor.inputs else None
    if maker is None or maker.op != "DequantizeLinear":
        return None
    return maker if all(isinstance(part, gs.Constant) for part in maker.inputs[1:]) else None


def _parameters(node: gs.Node) -> list[Array]:
    return [part.values for part in node.inputs[1:]]


def _rewrite(graph: Graph, node: gs.Node) -> bool:
    decode, weight_decode = node.inputs[0].inputs[0], node.inputs[1].inputs[0]
    weight = weight_decode.inputs[0]
    kernel, sides = weight.values.shape[2:], node.inputs[0].shape[2:]
    pads = explicit_pads(node, sides, kernel)
    windows = [Window.of(*along) for along in zip(sides, kernel, pads[:2], pads[2:], strict=True)]
    if min(window.end for window in windows) < 0:
        return False
    weight_decode.inputs[0] = gs.Constant(f"{weight.name}_blocks", _blocked(weight_decode, windows))
    for name in ("auto_pad", "kernel_shape"):
        node.attrs.pop(name, None)
    pads = [*(window.begin for window in windows), *(window.end for window in windows)]
    node.attrs |= {"kernel_shape": [window.blocks for window in windows], "strides": [1, 1], "pads": pads}
    put_blocks_before(graph, decode)
    return True


def _blocked(decode: gs.Node, windows: list[Window]) -> Array:
    """Codes [n, c, k, k] as [n, 4 c, k', k']: a block's row, its column, then the picture's channel, as in ONNX."""
    weight = decode.inputs[0].values
    zero = decode.inputs[2].values.reshape(-1, 1, 1, 1) if len(decode.inputs) > 2 else weight.dtype.type(0)
    count, channels, height, width = weight.shape
    rows, columns = windows
    whole = np.empty((count, channels, BLOCK * rows.blocks, BLOCK * columns.blocks), weight.dtype)
    whole[:] = zero
    whole[:, :, rows.lead : rows.lead + height, columns.lead : columns.lead + width] = weight
    split = whole.reshape(count, channels, rows.blocks, BLOCK, columns.blocks, BLOCK)
    return np.ascontiguousarray(split.transpose(0, 3, 5, 1, 2, 4).reshape(count, -1, rows.blocks, columns.blocks))


def put_blocks_before(graph: Graph, decode: gs.Node) -> None:
    """SpaceToDepth in front of what a DequantizeLinear decodes: in front of its quantization where that is its own."""
    codes = decode.inputs[0]
    quantize = codes.inputs[0] if codes.inputs and codes.inputs[0].op == "QuantizeLinear" else None
    given = any(codes is output for output in graph.outputs)
    if quantize is not None and len(codes.outputs) == 1 and not given:
        quantize.inputs[0] = _rearranged(graph, quantize.inputs[0])
        return
    decode.inputs[0] = _copied(graph, codes, decode.outputs[0].shape)


def _rearranged(graph: Graph, tensor: gs.Tensor) -> gs.Tensor:
    made = gs.Variable(f"{tensor.name}_blocks", tensor.dtype)
    graph.nodes.append(gs.Node("SpaceToDepth", made.name, {"blocksize": BLOCK}, [tensor], [made]))
    return made


def _copied(graph: Graph, codes: gs.Tensor, shape: Sequence[int]) -> gs.Tensor:
    """The blocks of codes [N, C, H, W]: the two rows of each block side by side, with channels last."""
    _, channels, height, width = shape
    last, pairs, upper, lower, rows, blocks, made = (
        gs.Variable(f"{codes.name}_{suffix}", codes.dtype)
        for suffix in ("last", "pairs", "upper", "lower", "rows", "last_blocks", "blocks")
    )
    split = gs.Constant(f"{pairs.name}_shape", _whole(-1, height // BLOCK, BLOCK, width // BLOCK, BLOCK * channels))
    each = gs.Constant(f"{pairs.name}_each", _whole(1, 1))
    joined = gs.Constant(f"{blocks.name}_shape", _whole(-1, height // BLOCK, width // BLOCK, BLOCK**2 * channels))
    graph.nodes += [
        gs.Node("Transpose", last.name, {"perm": [0, 2, 3, 1]}, [codes], [last]),
        gs.Node("Reshape", pairs.name, {}, [last, split], [pairs]),
        gs.Node("Split", upper.name, {"axis": 2}, [pairs, each], [upper, lower]),
        gs.Node("Concat", rows.name, {"axis": 4}, [upper, lower], [rows]),
        gs.Node("Reshape", blocks.name, {}, [rows, joined], [blocks]),
        gs.Node("Transpose", made.name, {"perm": [0, 3, 1, 2]}, [blocks], [made]),
    ]
    return made


def _whole(*numbers: int) -> Array:
    return np.array(numbers, np.int64)
