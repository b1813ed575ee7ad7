"""Fitting the weights of quantized layers to the float network's outputs, layer by layer, and rounding them jointly.

Each layer sees the quantized outputs of the layers before it, which are fitted already. Its weights are fitted to
compensate their errors (least squares towards the float outputs) and rounded so that rounding errors compensate each
other; its bias takes what is left of the mean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.layouts import Layout, can_sample, layout_of
from yocc.analysis.quant_params import QuantParams
from yocc.analysis.walk import Sampling, walk
from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.compiler.pipeline.target import TensorScheme
from yocc.fitting.codec import Codec
from yocc.fitting.rounding import choose_scales, round_jointly
from yocc.fitting.rows import best_bias, best_weight, damped_covariance, same_spread
from yocc.rewrites.qdq import insert_qdq, is_shared

Array = np.ndarray[Any, Any]
SAMPLING = Sampling(pictures=12, points=768)
RIDGE = 1.0
"""Pull towards the weights there were, as a share of the inputs' mean variance: 8 bits leave little to make up for."""
_BIAS_CODES = 2.0**30
"""Largest quantized bias allowed, half of what int32 holds."""


def can_refit(node: gs.Node) -> bool:
    """Whether a layer's weights can be fitted: its outputs are a matrix times samples of its inputs, plus a bias.

    Weights that others read too cannot: fitted to one of them they would have to be stored again for each.
    """
    weight = node.inputs[1]
    if not isinstance(weight, gs.Constant) or node.op == "MatMul" or is_shared(weight):
        return False
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    layout = layout_of(node, tuple(weight.shape))
    if layout is None or not can_sample(node, layout.shape):
        return False
    if bias is None or bias.is_empty():
        return True
    return isinstance(bias, gs.Constant) and bias.values.shape == (layout.shape[layout.axis],)


def refit(
    graph: Graph,
    teacher: Graph,
    layers: Mapping[str, TensorScheme | None],
    tensors: Mapping[str, QuantParams],
    weights: Mapping[tuple[str, int], QuantParams],
    feeds: Feeds,
    ctx: PassContext,
) -> dict[tuple[str, int], QuantParams]:
    """Replace weights and biases in the graph.

    Args:
        graph: the float graph, in which biases may have been corrected; changed in place.
        teacher: the float graph as it was; gives the wanted outputs.
        layers: how the weight of each layer is quantized; None for float layers with quantized inputs.
        tensors: how activations are to be quantized.
        weights: how weights are to be quantized; scales of whole weights are kept, those of channels chosen anew.
        feeds: pictures.
        ctx: runs models.

    Returns:
        How weights are to be quantized now.
    """
    quantized = clone(graph)
    insert_qdq(quantized, tensors, {key: params for key, params in weights.items() if key[0] not in layers})
    refresh(quantized)
    nodes = {node.name: node for node in graph.nodes}
    layouts = {name: _layout(nodes[name]) for name in layers}
    quant_params = dict(weights)
    for node, moments in walk(quantized, teacher, layouts, feeds, ctx, SAMPLING):
        layout, scheme = layouts[node.name], layers[node.name]
        covariance = damped_covariance(moments.inputs, RIDGE)
        wanted = best_weight(moments, layout.rows(node.inputs[1].values.astype(np.float64)), covariance)
        if scheme is not None:
            bias = best_bias(moments, wanted)
            floor = _least_scales(bias, tensors.get(nodes[node.name].inputs[0].name))
            quant_params[node.name, 1], wanted = _rounded(wanted, covariance, scheme, weights[node.name, 1], floor)
        else:
            wanted = same_spread(moments, wanted)
        values = layout.weight(wanted).astype(np.float32)
        for copy in (node, nodes[node.name]):
            _store(copy, values, best_bias(moments, wanted).astype(np.float32))
    return quant_params


def _layout(node: gs.Node) -> Layout:
    layout = layout_of(node, tuple(node.inputs[1].shape))
    assert layout is not None  # `can_refit` holds
    return layout


def _least_scales(bias: Array, source: QuantParams | None) -> Array:
    """Scales that let a bias fit into int32 with the scale of its layer's input."""
    if source is None:
        return np.zeros(len(bias))
    floor: Array = np.abs(bias) / (_BIAS_CODES * float(source.scale))
    return floor


def _rounded(
    wanted: Array, covariance: Array, scheme: TensorScheme, before: QuantParams, floor: Array
) -> tuple[QuantParams, Array]:
    """Scales and rounded weights."""
    middle = int(before.zero_point.reshape(-1)[0])
    codec = Codec("linear", scheme.bits, np.arange(scheme.lowest - middle, scheme.highest - middle + 1.0))
    if before.axis is None:
        scales = np.full(len(wanted), float(before.scale))
    else:
        scales = choose_scales(wanted, codec, np.diag(covariance), floor).astype(np.float32).astype(np.float64)
    levels = round_jointly(wanted, scales, codec, covariance)
    scale = before.scale if before.axis is None else scales.astype(np.float32)
    return QuantParams(scale, before.zero_point, before.axis), levels * scales[:, None]


def _store(node: gs.Node, weight: Array, bias: Array) -> None:
    node.inputs[1] = gs.Constant(f"{node.name}_refitted_weight", weight)
    constant = gs.Constant(f"{node.name}_refitted_bias", bias)
    if len(node.inputs) > 2:
        node.inputs[2] = constant
    else:
        node.inputs.append(constant)


def refittable(graph: Graph, names: Collection[str]) -> list[str]:
    """Those of the named layers that can be fitted, in graph order."""
    return [node.name for node in graph.nodes if node.name in names and can_refit(node)]
