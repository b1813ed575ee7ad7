"""Bias correction: taking out the mean error that quantizing leaves in each output channel of a layer.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV 2019), section 4.2, and its
empirical form where activations are quantized too. Each layer's error is measured with everything before the preceding
layers exact: corrections measured on top of each other's errors would be counted twice and diverge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.analysis.pictures import evenly
from yocc.analysis.quant_params import QuantParams
from yocc.compiler.graph import PROTOBUF_LIMIT, Graph, clone, refresh, to_proto, weight_bytes
from yocc.compiler.graph.cost import weight_of
from yocc.compiler.graph.forms import operator_form
from yocc.compiler.pipeline.passes import Feeds, PassContext, require_executor
from yocc.errors import InternalError
from yocc.rewrites.qdq import insert_qdq

PICTURES = 32
"""Pictures the mean error is measured on; it is an average over all positions, so few suffice."""
_QUANTIZED = "yocc_quantized/"


def correct_biases(
    graph: Graph,
    layers: Sequence[str],
    tensors: Mapping[str, QuantParams],
    weights: Mapping[tuple[str, int], QuantParams],
    feeds: Feeds,
    ctx: PassContext,
) -> int:
    """Shift each layer's bias by the mean error of its outputs, channel by channel.

    Args:
        graph: the float graph; changed in place.
        layers: nodes to correct, quantized or with quantized inputs; those that are no Conv, ConvTranspose or Gemm, or
            whose bias is computed at run time, are skipped.
        tensors: how activations are to be quantized; with none, errors of the weights alone are corrected.
        weights: how weights are to be quantized.
        feeds: pictures to measure on.
        ctx: runs the model.

    Returns:
        The number of layers corrected.
    """
    nodes = {node.name: node for node in graph.nodes}
    chosen = [nodes[name] for name in layers if _correctable(nodes[name])]
    if not chosen or 2 * weight_bytes(graph) > PROTOBUF_LIMIT:
        return 0
    quantized = clone(graph)
    insert_qdq(quantized, tensors, weights)
    refresh(quantized)
    outputs = [(node.outputs[0].name, _rank(node)) for node in chosen]
    run = require_executor(ctx, "Bias correction")(_side_by_side(to_proto(graph), to_proto(quantized), outputs))
    pictures = evenly(feeds, PICTURES)
    errors: list[Any] = [0.0] * len(chosen)
    for arrays in ctx.progress(pictures, "correct biases", len(pictures)):
        found = run(arrays)
        for index in range(len(chosen)):
            error = found[_mean(index, _QUANTIZED)].astype(np.float64) - found[_mean(index, "")]
            errors[index] = errors[index] + error / len(pictures)
    for node, error in zip(chosen, errors, strict=True):
        _shift(node, -error / node.attrs.get("beta", 1.0))
    return len(chosen)


def _side_by_side(
    exact: onnx.ModelProto, quantized: onnx.ModelProto, outputs: list[tuple[str, int]]
) -> onnx.ModelProto:
    """Both models in one, each quantized layer fed by quantized exact values; their channel means are the outputs."""
    inputs = {value.name for value in exact.graph.input}
    layers = {name for name, _ in outputs}
    graph = exact.graph
    for initializer in quantized.graph.initializer:
        initializer.name = _QUANTIZED + initializer.name
        graph.initializer.append(initializer)
    for node in quantized.graph.node:
        node.name = _QUANTIZED + node.name
        _read_quantized(node, inputs | layers)
        for slot, name in enumerate(node.output):
            node.output[slot] = _QUANTIZED + name if name else name
        graph.node.append(node)
    del graph.output[:]
    for index, (name, rank) in enumerate(outputs):
        for prefix in ("", _QUANTIZED):
            axes = [axis for axis in range(rank) if axis != 1]
            graph.node.append(_reduce_mean(exact, prefix + name, _mean(index, prefix), axes))
            graph.output.append(onnx.helper.make_tensor_value_info(_mean(index, prefix), onnx.TensorProto.FLOAT, None))
    return exact


def _read_quantized(node: onnx.NodeProto, kept: AbstractSet[str]) -> None:
    """Let a node and its subgraphs read the quantized model's tensors, except those that are kept."""
    for slot, name in enumerate(node.input):
        if name and name not in kept:
            node.input[slot] = _QUANTIZED + name
    for attribute in node.attribute:
        for subgraph in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
            own = {value.name for value in (*subgraph.input, *subgraph.initializer)}
            own |= {name for inner in subgraph.node for name in inner.output}
            for inner in subgraph.node:
                _read_quantized(inner, kept | own)
            for value in subgraph.output:
                if value.name not in kept | own:
                    value.name = _QUANTIZED + value.name


def _reduce_mean(model: onnx.ModelProto, name: str, result: str, axes: list[int]) -> onnx.NodeProto:
    """The mean over some axes."""
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    form = operator_form("ReduceMean", opset, {"axes": axes, "keepdims": 0})
    inputs = [name]
    for slot, values in form.inputs.items():
        inputs.append(f"{result}/input_{slot}")
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, inputs[-1]))
    return onnx.helper.make_node("ReduceMean", inputs, [result], **form.attributes)


def _rank(node: gs.Node) -> int:
    weight = weight_of(node)
    if weight is None:
        raise InternalError(f"{node.name} is to be corrected but has no weight.")
    return len(weight.shape)


def _mean(index: int, prefix: str) -> str:
    return f"yocc_mean/{prefix}{index}"


def _correctable(node: gs.Node) -> bool:
    """Whether a layer has a bias that can be changed, or can be given one."""
    if node.op not in ("Conv", "ConvTranspose", "Gemm") or node.attrs.get("beta", 1.0) == 0:
        return False
    return len(node.inputs) < 3 or node.inputs[2].is_empty() or isinstance(node.inputs[2], gs.Constant)


def _shift(node: gs.Node, change: Any) -> None:
    """Add to a layer's bias, giving it one if it has none."""
    if len(node.inputs) > 2 and not node.inputs[2].is_empty():
        change = node.inputs[2].values + change
    constant = gs.Constant(f"{node.name}_corrected_bias", np.ascontiguousarray(change, dtype=np.float32))
    if len(node.inputs) > 2:
        node.inputs[2] = constant
    else:
        node.inputs.append(constant)
