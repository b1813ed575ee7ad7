"""How weights are quantized, and with them biases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.heads import first_layers, straight_readers
from yocc.analysis.layouts import layout_of
from yocc.analysis.quant_params import QuantParams, weight_params
from yocc.compiler.graph import Graph
from yocc.compiler.graph.operators import WEIGHTED
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target, TensorScheme
from yocc.passes.quantize.placement import Placement
from yocc.rewrites.qdq import has_vector_bias, quantize_bias

_BIAS_CODES = 2.0**30
"""Largest quantized bias allowed, half of what int32 holds."""


def weight_schemes(graph: Graph, target: Target) -> dict[str, TensorScheme]:
    """How the weight of each layer is stored, by node name."""
    scheme = target.weights
    bright = (*first_layers(graph), *straight_readers(graph)) if target.first_weights == "half" else ()
    first = {node.name for node in bright}
    narrow = replace(scheme, bits=scheme.bits - 1)
    return {node.name: narrow if node.name in first else scheme for node in graph.nodes if node.op in WEIGHTED}


def quantize_weights(
    graph: Graph, placement: Placement, activations: Mapping[str, QuantParams], ctx: PassContext
) -> dict[tuple[str, int], QuantParams]:
    """How the weight of each layer that is quantized is quantized, by layer and input slot.

    Layers that share a weight share its scales; a layer among them that stays float reads the dequantized values, so
    that the weight is stored once. Where its output channels lie on one axis for one of them and on another for the
    next, as in an encoder and a decoder with tied weights, the whole weight has one scale, or each axis a copy.
    """
    layers = set(placement.layers)
    scheme = ctx.target.weights
    readers: dict[tuple[str, int | None], list[gs.Node]] = {}
    for node in graph.nodes:
        if node.op in WEIGHTED and isinstance(node.inputs[1], gs.Constant):
            copy = _channel_axis(node) if scheme.per_channel and ctx.target.tied_weights == "copied" else None
            readers.setdefault((node.inputs[1].name, copy), []).append(node)
    schemes = weight_schemes(graph, ctx.target)
    quant_params = {}
    for nodes in readers.values():
        if layers.isdisjoint(node.name for node in nodes):
            continue
        axes = {_channel_axis(node) for node in nodes if node.name in layers}
        axis = axes.pop() if scheme.per_channel and len(axes) == 1 else None
        floors = [floor for node in nodes if (floor := _floor(node, axis, activations)) is not None]
        floor = np.maximum.reduce(floors) if floors else None
        narrowest = min((schemes[node.name] for node in nodes), key=lambda each: each.bits)
        params = weight_params(nodes[0].inputs[1].values, axis, narrowest, floor)
        quant_params.update({(node.name, 1): params for node in nodes})
    return {(node.name, 1): quant_params[node.name, 1] for node in graph.nodes if (node.name, 1) in quant_params}


def _channel_axis(node: gs.Node) -> int | None:
    """The axis of output channels of a layer's weight."""
    layout = layout_of(node, node.inputs[1].values.shape)
    return None if layout is None else layout.axis


def _floor(node: gs.Node, axis: int | None, activations: Mapping[str, QuantParams]) -> Any:
    """Least weight scales that let the bias fit into int32."""
    if node.inputs[0].name not in activations or not has_vector_bias(node):
        return None
    bias = np.abs(node.inputs[2].values.astype(np.float64))
    floor = bias / (_BIAS_CODES * float(activations[node.inputs[0].name].scale))
    return floor if axis is not None else floor.max()


def quantize_biases(graph: Graph, weights: Mapping[tuple[str, int], QuantParams]) -> None:
    """Store the biases of quantized layers with quantized inputs in int32."""
    nodes = {node.name: node for node in graph.nodes}
    for (name, _), params in weights.items():
        makers = nodes[name].inputs[0].inputs
        if makers and makers[0].op == "DequantizeLinear":
            quantize_bias(graph, nodes[name], makers[0].inputs[1].values, params.scale)
