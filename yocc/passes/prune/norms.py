"""Figures of whole classes of channels, and those that weights give."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from yocc.analysis.coupling.channels import ChannelMap
from yocc.compiler.graph import Graph

Scores = np.ndarray[Any, np.dtype[np.float64]]


def by_class(parts: Iterable[tuple[Any, Any]], classes: int) -> Scores:
    """Mean value of each class, NaN where it has none.

    Args:
        parts: values and the classes they belong to, of equal shapes.
        classes: their number.
    """
    total, count = np.zeros(classes), np.zeros(classes)
    for values, atoms in parts:
        total += np.bincount(np.ravel(atoms), np.ravel(values), classes)
        count += np.bincount(np.ravel(atoms), minlength=classes)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def bn_gamma(graph: Graph, channels: ChannelMap) -> Scores:
    """Mean |gamma| of the batch normalizations of a class, shape [classes]; NaN where it has none."""
    nodes = {node.name: node for node in graph.nodes}
    return by_class(
        (
            (np.abs(nodes[cut.node].inputs[1].values.astype(np.float64)), cut.atoms)
            for cut in channels.cuts
            if nodes[cut.node].op == "BatchNormalization" and cut.slot == 1
        ),
        channels.classes,
    )


def l1(graph: Graph, channels: ChannelMap) -> Scores:
    """Sum of |w| over everything that would be removed with a class, shape [classes]."""
    return _group_norm(graph, channels, np.abs)


def l2(graph: Graph, channels: ChannelMap) -> Scores:
    """Root of the sum of squares over everything that would be removed with a class, shape [classes]."""
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
