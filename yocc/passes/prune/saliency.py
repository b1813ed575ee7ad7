"""How much each class of channels matters, from the weights alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from yocc.compiler.graph import Graph
from yocc.passes.prune.channels import ChannelMap

Scores = np.ndarray[Any, np.dtype[np.float64]]


def bn_gamma(graph: Graph, channels: ChannelMap) -> Scores:
    """Mean |gamma| of the batch normalisations of a class; NaN where it has none.

    Network slimming (Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017), the
    saliency of target-capacity filter pruning.
    """
    total, count = np.zeros(channels.classes), np.zeros(channels.classes)
    nodes = {node.name: node for node in graph.nodes}
    for cut in channels.cuts:
        node = nodes[cut.node]
        if node.op == "BatchNormalization" and cut.slot == 1:
            gamma = np.abs(node.inputs[1].values.astype(np.float64))
            total += np.bincount(cut.atoms, gamma, channels.classes)
            count += np.bincount(cut.atoms, minlength=channels.classes)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def l1(graph: Graph, channels: ChannelMap) -> Scores:
    """Sum of |w| over everything that would be removed with a class (Li et al., "Pruning Filters", ICLR 2017)."""
    return _group_norm(graph, channels, np.abs)


def l2(graph: Graph, channels: ChannelMap) -> Scores:
    """Root of the sum of squares over everything that would be removed with a class, as in DepGraph (CVPR 2023)."""
    return np.sqrt(_group_norm(graph, channels, np.square))


def _group_norm(graph: Graph, channels: ChannelMap, measure: Callable[[Any], Any]) -> Scores:
    scores = np.zeros(channels.classes)
    nodes = {node.name: node for node in graph.nodes}
    for cut in channels.cuts:
        if cut.role == "along":
            continue
        weight = nodes[cut.node].inputs[cut.slot].values
        rest = tuple(axis for axis in range(weight.ndim) if axis != cut.axis)
        norms = measure(weight.astype(np.float32)).sum(axis=rest, dtype=np.float64)
        scores += np.bincount(cut.atoms, norms, channels.classes)
    return scores


Criterion = Callable[[Graph, ChannelMap], Scores]
CRITERIA: Mapping[str, Criterion] = MappingProxyType({"bn_gamma": bn_gamma, "l1": l1, "l2": l2})


def saliency(graph: Graph, channels: ChannelMap, criterion: str) -> Scores:
    """Saliency of each class, shape [classes].

    `auto` is BN-gamma where a group kept its batch normalisation and L2 elsewhere; scores are only ever compared
    within a group, so that the two may stand side by side.
    """
    if criterion != "auto":
        return CRITERIA[criterion](graph, channels)
    gamma = bn_gamma(graph, channels)
    scores = l2(graph, channels)
    for group in channels.groups:
        if not np.isnan(gamma[group.classes]).any():
            scores[group.classes] = gamma[group.classes]
    return scores
