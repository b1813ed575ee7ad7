"""Weights, biases and scales learnt through the rounding: training that knows about quantization, without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.coding import Coding
from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.pipeline.lineage import whole_teacher
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.errors import InternalError
from yocc.rewrites.qdq import insert_qdq

RATE = 5e-4
"""A sixth of what a pruned network learns at: what calibration found is nearly right."""
BATCH = 8

Weights = Mapping[tuple[str, int], Coding]


def learn_codes(
    graph: Graph,
    activations: Mapping[str, Coding],
    weights: Weights,
    feeds: Feeds,
    ctx: PassContext,
    *,
    steps: int,
) -> tuple[dict[str, Coding], dict[tuple[str, int], Coding], dict[str, Any]]:
    """Train with rounding in the loop, the float network as teacher (LSQ, Esser et al. 2020, arXiv 1902.08153).

    A rounding passes gradients on as if it did nothing. Zero points stay; scales that are the same stay the same.

    Args:
        graph: the float graph; gets the learnt weights and biases.
        activations: codings by tensor.
        weights: codings by layer and input.
        feeds: pictures.
        ctx: progress, what the outputs mean; the network before pruning, if it was.
        steps: how many batches to learn from.

    Returns:
        The codings with the learnt scales, and figures for the report.
    """
    from yocc.learning.training import Training, train

    teacher = ctx.teacher or whole_teacher(graph, None)
    coded = clone(graph)
    insert_qdq(coded, activations, weights)
    refresh(coded)
    training = Training(steps=steps, batch=BATCH, rate=RATE, later=ctx.remaining_passes.count("distill"))
    done = train(coded, teacher, feeds, ctx, training)
    _take_over(graph, coded)
    return _activations(coded, activations), _weights(coded, weights), done.figures


def _take_over(graph: Graph, coded: Graph) -> None:
    """Weights and biases, which have the same names in both."""
    learnt = coded.tensors()
    for name, tensor in graph.tensors().items():
        if isinstance(tensor, gs.Constant) and isinstance(learnt.get(name), gs.Constant):
            tensor.values = learnt[name].values


def _activations(coded: Graph, before: Mapping[str, Coding]) -> dict[str, Coding]:
    tensors = coded.tensors()
    found = {}
    for name, coding in before.items():
        quantize = next(node for node in tensors[name].outputs if node.op == "QuantizeLinear")
        found[name] = _with_scale(coding, quantize)
    return found


def _weights(coded: Graph, before: Weights) -> dict[tuple[str, int], Coding]:
    nodes = {node.name: node for node in coded.nodes}
    return {
        (name, slot): _with_scale(coding, nodes[name].inputs[slot].inputs[0]) for (name, slot), coding in before.items()
    }


def _with_scale(coding: Coding, node: gs.Node) -> Coding:
    scale = np.asarray(node.inputs[1].values, dtype=np.float32).reshape(coding.scale.shape)
    if not (scale > 0).all():
        raise InternalError(f"Learning made a scale of {node.name} negative.")
    return replace(coding, scale=scale)
