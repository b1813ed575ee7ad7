"""Reading pictures as blocks of 2 x 2 pixels, for runtimes that gather what a convolution reads value by value.

A first layer with stride 2 sees three channels and many pixels. SpaceToDepth makes of each block of 2 x 2 pixels one
with four times the channels, and the same sums are those of a layer with stride 1 and half the kernel: the first layer
of YOLOv5 before its Focus became a convolution. The runtime copies a quarter as many runs, each four times as long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.compiler.graph.padding import explicit_pads

Array = np.ndarray[Any, Any]

_BLOCK = 2
_MOST_CHANNELS = 4
"""Layers that read more are not gathered value by value."""


def read_blocks(graph: Graph) -> int:
    """Put SpaceToDepth before quantized convolutions of stride 2 that read pictures, in place.

    Sums stay the same to the bit. What is rearranged is the float tensor before its quantization, as onnxruntime runs
    SpaceToDepth on bytes from recent versions on only; bytes are converted before and after.

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
    if attrs.get("group", 1) != 1 or list(attrs.get("strides", ())) != [_BLOCK] * 2:
        return False
    if list(attrs.get("dilations", (1, 1))) != [1, 1] or shape is None or len(shape) != 4:
        return False
    if not all(isinstance(size, int) and size > 0 for size in shape[1:]) or shape[1] > _MOST_CHANNELS:
        return False
    if shape[2] % _BLOCK or shape[3] % _BLOCK:
        return False
    decode, weight = _decoder(node.inputs[0]), _decoder(node.inputs[1])
    if decode is None or weight is None or not isinstance(weight.inputs[0], gs.Constant):
        return False
    if any(value.size != 1 for value in _parameters(decode)) or len(weight.inputs[0].outputs) > 1:
        return False
    return len(decode.outputs[0].outputs) == 1 and len(weight.outputs[0].outputs) == 1


def _decoder(tensor: gs.Tensor) -> gs.Node | None:
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
    outputs = [
        (side + before + after - size) // _BLOCK + 1
        for side, before, after, size in zip(sides, pads[:2], pads[2:], kernel, strict=True)
    ]
    # Blocks in front of the first: the kernel grows by zeros so that it begins with one.
    begins = [-(-pad // _BLOCK) for pad in pads[:2]]
    leads = [_BLOCK * begin - pad for begin, pad in zip(begins, pads[:2], strict=True)]
    blocks = [-(-(lead + size) // _BLOCK) for lead, size in zip(leads, kernel, strict=True)]
    ends = [
        output - 1 + block - begin - side // _BLOCK
        for output, block, begin, side in zip(outputs, blocks, begins, sides, strict=True)
    ]
    if min(ends) < 0:
        return False
    weight_decode.inputs[0] = gs.Constant(f"{weight.name}_blocks", _blocked(weight_decode, leads, blocks))
    for name in ("auto_pad", "kernel_shape"):
        node.attrs.pop(name, None)
    node.attrs |= {"kernel_shape": blocks, "strides": [1, 1], "pads": [*begins, *ends]}
    _put_before(graph, decode)
    return True


def _blocked(decode: gs.Node, leads: list[int], blocks: list[int]) -> Array:
    """Codes [n, c, k, k] as [n, 4 c, k', k']: a block's row, its column, then the picture's channel, as in ONNX."""
    weight = decode.inputs[0].values
    zero = decode.inputs[2].values.reshape(-1, 1, 1, 1) if len(decode.inputs) > 2 else weight.dtype.type(0)
    count, channels, height, width = weight.shape
    whole = np.empty((count, channels, *(_BLOCK * block for block in blocks)), weight.dtype)
    whole[:] = zero
    whole[:, :, leads[0] : leads[0] + height, leads[1] : leads[1] + width] = weight
    split = whole.reshape(count, channels, blocks[0], _BLOCK, blocks[1], _BLOCK)
    return np.ascontiguousarray(split.transpose(0, 3, 5, 1, 2, 4).reshape(count, -1, *blocks))


def _put_before(graph: Graph, decode: gs.Node) -> None:
    """SpaceToDepth in front of what a DequantizeLinear decodes: in front of its quantization where that is its own."""
    codes = decode.inputs[0]
    quantize = codes.inputs[0] if codes.inputs and codes.inputs[0].op == "QuantizeLinear" else None
    given = any(codes is output for output in graph.outputs)
    if quantize is not None and len(codes.outputs) == 1 and not given:
        quantize.inputs[0] = _rearranged(graph, quantize.inputs[0])
        return
    values = _rearranged(graph, _cast(graph, codes, np.dtype(np.float32)))
    decode.inputs[0] = _cast(graph, values, np.dtype(codes.dtype))


def _rearranged(graph: Graph, tensor: gs.Tensor) -> gs.Tensor:
    made = gs.Variable(f"{tensor.name}_blocks", tensor.dtype)
    graph.nodes.append(gs.Node("SpaceToDepth", made.name, {"blocksize": _BLOCK}, [tensor], [made]))
    return made


def _cast(graph: Graph, tensor: gs.Tensor, dtype: np.dtype[Any]) -> gs.Tensor:
    made = gs.Variable(f"{tensor.name}_{dtype.name}", dtype)
    kind = int(onnx.helper.np_dtype_to_tensor_dtype(dtype))
    graph.nodes.append(gs.Node("Cast", made.name, {"to": kind}, [tensor], [made]))
    return made
