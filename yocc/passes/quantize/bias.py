"""Bias correction: taking out the mean error that coding leaves in each output channel of a layer.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV 2019), section 4.2, in its
empirical form. Each layer's error is measured with everything before the preceding layers exact: corrections measured
on top of each other's errors would be counted twice and diverge.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import PROTOBUF_LIMIT, Graph, clone, refresh, to_proto, weight_bytes
from yocc.compiler.passes import Feeds, PassContext, require_executor
from yocc.passes.quantize.qdq import Coding, insert_qdq

PICTURES = 32
"""Pictures the mean error is measured on; it is an average over all positions, so few suffice."""
_CODED = "yocc_coded/"


def correct_biases(
    graph: Graph,
    layers: Sequence[str],
    tensors: Mapping[str, Coding],
    weights: Mapping[tuple[str, int], Coding],
    feeds: Feeds,
    ctx: PassContext,
) -> int:
    """Shift each layer's bias by the mean error of its outputs, channel by channel.

    Args:
        graph: the float graph; changed in place.
        layers: nodes to correct, coded or fed by codes; those that are no Conv, ConvTranspose or Gemm are passed over.
        tensors: how activations are to be coded.
        weights: how weights are to be coded.
        feeds: pictures to measure on.
        ctx: runs the model.

    Returns:
        The number of layers corrected.
    """
    nodes = {node.name: node for node in graph.nodes}
    chosen = [nodes[name] for name in layers if nodes[name].op in ("Conv", "ConvTranspose", "Gemm")]
    if not chosen or 2 * weight_bytes(graph) > PROTOBUF_LIMIT:
        return 0
    coded = clone(graph)
    insert_qdq(coded, tensors, weights)
    refresh(coded)
    outputs = [(node.outputs[0].name, len(node.inputs[1].shape)) for node in chosen]
    run = require_executor(ctx, "Bias correction")(_side_by_side(to_proto(graph), to_proto(coded), outputs))
    step = max(1, len(feeds) // PICTURES)
    count = len(range(0, len(feeds), step))
    errors: list[Any] = [0.0] * len(chosen)
    for arrays in ctx.progress(itertools.islice(feeds, 0, None, step), "correct biases", count):
        found = run(arrays)
        for index in range(len(chosen)):
            error = found[_mean(index, _CODED)].astype(np.float64) - found[_mean(index, "")]
            errors[index] = errors[index] + error / count
    for node, error in zip(chosen, errors, strict=True):
        _shift(node, -error)
    return len(chosen)


def _side_by_side(exact: onnx.ModelProto, coded: onnx.ModelProto, outputs: list[tuple[str, int]]) -> onnx.ModelProto:
    """Both models in one, each coded layer fed by codes of exact values; their channel means are the outputs."""
    inputs = {value.name for value in exact.graph.input}
    layers = {name for name, _ in outputs}
    graph = exact.graph
    for initializer in coded.graph.initializer:
        initializer.name = _CODED + initializer.name
        graph.initializer.append(initializer)
    for node in coded.graph.node:
        node.name = _CODED + node.name
        for slot, name in enumerate(node.input):
            if name and name not in inputs and name not in layers:
                node.input[slot] = _CODED + name
        for slot, name in enumerate(node.output):
            node.output[slot] = _CODED + name if name else name
        graph.node.append(node)
    del graph.output[:]
    for index, (name, rank) in enumerate(outputs):
        for prefix in ("", _CODED):
            axes = [axis for axis in range(rank) if axis != 1]
            mean = onnx.helper.make_node("ReduceMean", [prefix + name], [_mean(index, prefix)], axes=axes, keepdims=0)
            graph.node.append(mean)
            graph.output.append(onnx.helper.make_tensor_value_info(mean.output[0], onnx.TensorProto.FLOAT, None))
    return exact


def _mean(index: int, prefix: str) -> str:
    return f"yocc_mean/{prefix}{index}"


def _shift(node: gs.Node, change: Any) -> None:
    """Add to a layer's bias, giving it one if it has none."""
    change = change.astype(np.float32)
    if len(node.inputs) > 2 and not node.inputs[2].is_empty():
        bias = node.inputs[2]
        if not isinstance(bias, gs.Constant):
            return
        change = np.broadcast_to(bias.values, change.shape) + change
    constant = gs.Constant(f"{node.name}_corrected_bias", np.ascontiguousarray(change, dtype=np.float32))
    if len(node.inputs) > 2:
        node.inputs[2] = constant
    else:
        node.inputs.append(constant)
