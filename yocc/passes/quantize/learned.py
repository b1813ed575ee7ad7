"""Weights, biases and scales learned through the rounding: training that knows about quantization, without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.quant_params import QuantParams
from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.pipeline.lineage import Teacher
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.errors import InternalError
from yocc.rewrites.qdq import insert_qdq

RATE = 5e-4
"""A sixth of what a pruned network learns at: what calibration found is nearly right."""
BATCH = 8

Weights = Mapping[tuple[str, int], QuantParams]


def learn_quantization(
    graph: Graph,
    teacher: Teacher,
    activations: Mapping[str, QuantParams],
    weights: Weights,
    feeds: Feeds,
    ctx: PassContext,
    *,
    steps: int,
) -> tuple[dict[str, QuantParams], dict[tuple[str, int], QuantParams], dict[str, Any]]:
    """Train with rounding in the loop, the float network as teacher (LSQ, Esser et al. 2020, arXiv 1902.08153).

    A rounding passes gradients on as if it did nothing. Zero points stay; scales that are the same stay the same.

    Args:
        graph: the float graph, whose weights may be fitted to the rounding; gets the learned weights and biases.
        teacher: the float network as it was, before any weight was fitted.
        activations: scales and zero points by tensor.
        weights: scales and zero points by layer and input.
        feeds: pictures.
        ctx: progress, what the outputs mean.
        steps: how many batches to learn from.

    Returns:
        Scales and zero points with the learned scales, and figures for the report.
    """
    from yocc.learning.training import Training, train

    quantized = clone(graph)
    insert_qdq(quantized, activations, weights)
    refresh(quantized)
    training = Training(steps=steps, batch=BATCH, rate=RATE, later=ctx.remaining_passes.count("distill"))
    done = train(quantized, teacher, feeds, ctx, training)
    _take_over(graph, quantized)
    return _activations(quantized, activations), _weights(quantized, weights), done.figures


def _take_over(graph: Graph, quantized: Graph) -> None:
    """Weights and biases, which have the same names in both."""
    learned = quantized.tensors()
    for name, tensor in graph.tensors().items():
        if isinstance(tensor, gs.Constant) and isinstance(learned.get(name), gs.Constant):
            tensor.values = learned[name].values


def _activations(quantized: Graph, before: Mapping[str, QuantParams]) -> dict[str, QuantParams]:
    tensors = quantized.tensors()
    found = {}
    for name, params in before.items():
        quantize = next(node for node in tensors[name].outputs if node.op == "QuantizeLinear")
        found[name] = _with_scale(params, quantize)
    return found


def _weights(quantized: Graph, before: Weights) -> dict[tuple[str, int], QuantParams]:
    nodes = {node.name: node for node in quantized.nodes}
    return {
        (name, slot): _with_scale(params, nodes[name].inputs[slot].inputs[0]) for (name, slot), params in before.items()
    }


def _with_scale(params: QuantParams, node: gs.Node) -> QuantParams:
    scale = np.asarray(node.inputs[1].values, dtype=np.float32).reshape(params.scale.shape)
    if not (scale > 0).all():
        raise InternalError(f"Learning made a scale of {node.name} negative.")
    return replace(params, scale=scale)
