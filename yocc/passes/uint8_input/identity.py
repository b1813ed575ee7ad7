"""Quantizing an input that is the identity on bytes."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.pixels import Pixels

_BYTES = np.arange(256)


def feed_quantized(graph: Graph, inner: gs.Variable, pixels_in: gs.Variable, pixels: Pixels, channel: int) -> int:
    """Let what reads quantized values of the input read bytes, where each byte is its own quantized value.

    All 256 are tried, so that it holds to the bit.

    Args:
        graph: changed in place.
        inner: the input as it was.
        pixels_in: the bytes, of the same layout.
        pixels: how the input follows from them.
        channel: axis of the channels.

    Returns:
        The number of QuantizeLinear nodes that are gone.
    """
    count = inner.shape[channel]
    gone = 0
    for node in list(inner.outputs):
        if node.op != "QuantizeLinear" or not _is_identity(node, pixels, count):
            continue
        result = node.outputs[0]
        if any(each is result for each in graph.outputs):
            continue
        for reader in list(result.outputs):
            for slot, tensor in enumerate(reader.inputs):
                if tensor is result:
                    reader.inputs[slot] = pixels_in
        node.inputs.clear()
        node.outputs.clear()
        graph.nodes = [other for other in graph.nodes if other is not node]
        gone += 1
    return gone


def _is_identity(node: gs.Node, pixels: Pixels, channels: int) -> bool:
    scale, *rest = node.inputs[1:]
    zero_point = rest[0] if rest else None
    if not isinstance(scale, gs.Constant) or scale.values.size != 1:
        return False
    if zero_point is None:
        zero = np.float32(0)
        if node.attrs.get("output_dtype", 0):
            return False
    elif isinstance(zero_point, gs.Constant) and zero_point.dtype == np.uint8:
        zero = zero_point.values.astype(np.float32).reshape(())
    else:
        return False
    # As pictures are made into inputs, and as runtimes round: in float32.
    values = np.repeat((_BYTES.astype(np.float32) * np.float32(pixels.scale))[:, None], channels, axis=1)
    values = (values - np.asarray(pixels.mean, np.float32)) / np.asarray(pixels.std, np.float32)
    quantized = np.clip(np.rint(values / scale.values.astype(np.float32).reshape(())) + zero, 0, 255)
    return bool((quantized == _BYTES[:, None]).all())
