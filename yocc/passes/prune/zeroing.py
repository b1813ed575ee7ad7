"""Kernel and unstructured granularity: the weights with the smallest magnitude become zero, and every shape stays.

One threshold holds for all layers, on magnitudes as shares of the layer's root mean square (Han et al., "Learning both
Weights and Connections for Efficient Neural Networks", NIPS 2015; for whole k x k slices Mao et al., "Exploring the
Regularity of Sparse Structure in Convolutional Neural Networks", 2017).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import PassContext
from yocc.passes.prune.slices import Array, inner_layers, measure_named, require_some


def weight_masks(graph: Graph, ctx: PassContext, *, share: float, criterion: str, kernels: bool) -> dict[str, Array]:
    """Which weights stay, by layer, of the shape of the weight.

    Args:
        graph: not changed.
        ctx: takes the notes on layers that stay whole.
        share: of the weights of the layers that can be thinned out.
        criterion: one of `MEASURES`.
        kernels: whether the slices of a weight from one channel to another go as a whole.

    Raises:
        PassError: there is no such layer.
    """
    layers = inner_layers(graph, ctx)
    require_some(layers)
    measure = measure_named(criterion, ctx)
    scores, sizes = [], []
    for node in layers:
        weight = node.inputs[1].values
        found = measure(weight, tuple(range(2, weight.ndim)) if kernels else ())
        scores.append(found / max(float(np.sqrt(np.square(found).mean())), 1e-300))
        sizes.append(np.full(found.size, weight.size // found.size))
    order = np.argsort(np.concatenate([found.ravel() for found in scores]), kind="stable")
    every = np.concatenate(sizes)
    gone = np.cumsum(every[order]) <= share * every.sum()
    stays = np.ones(len(every), dtype=bool)
    stays[order[gone]] = False
    parts = np.split(stays, np.cumsum([found.size for found in scores])[:-1])
    return {
        node.name: np.broadcast_to(_spread(part.reshape(found.shape), node.inputs[1].values), node.inputs[1].shape)
        for node, found, part in zip(layers, scores, parts, strict=True)
    }


def _spread(part: Array, weight: Array) -> Array:
    return part.reshape(part.shape + (1,) * (weight.ndim - part.ndim))


def zero_weights(graph: Graph, masks: Mapping[str, Array]) -> int:
    """Set what does not stay to zero; returns how many weights changed their values."""
    changed = 0
    for node in graph.nodes:
        if node.name in masks and not masks[node.name].all():
            weight = node.inputs[1]
            weight.values = np.where(masks[node.name], weight.values, weight.values.dtype.type(0))
            changed += 1
    return changed


def zero_shares(graph: Graph, masks: Mapping[str, Array]) -> tuple[float, dict[str, float]]:
    """Share of zeros in the thinned layers together, and in each of them."""
    weights = {node.name: node.inputs[1].values for node in graph.nodes if node.name in masks}
    zeros = {name: float(np.mean(values == 0)) for name, values in weights.items()}
    total = sum(values.size for values in weights.values())
    return sum(zeros[name] * values.size for name, values in weights.items()) / total, zeros
