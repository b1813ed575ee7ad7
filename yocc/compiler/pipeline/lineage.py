"""Where a network comes from: the original, and which of its channels are left after passes that take some out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.graph.layers import output_axis

Channels = Mapping[str, np.ndarray[Any, Any]]
"""Indices of output channels, ascending, by layer."""


@dataclass(frozen=True)
class Pair:
    """The two layers that one layer of the original became, of which the second has its name.

    Attributes:
        first: name of the first one, which the original does not have.
        channels: the original's output channels that were left then, ascending, shape [outputs].
        metric: what an error in these costs, shape [outputs, outputs].
    """

    first: str
    channels: np.ndarray[Any, Any]
    metric: np.ndarray[Any, Any]


@dataclass(frozen=True)
class Teacher:
    """The network as it was before anything was taken out of it.

    Attributes:
        graph: that network; not to be changed.
        kept: for each layer that still exists, which of its original output channels are left.
        zeroed: layers of which single weights were set to zero, which must stay so.
        pairs: layers that became two, by name.
        rewired: nodes that read another tensor than they did, or give another result, by name.
    """

    graph: Graph
    kept: Channels
    zeroed: frozenset[str] = frozenset()
    pairs: Mapping[str, Pair] = field(default_factory=dict)
    rewired: frozenset[str] = frozenset()


def teacher_after(graph: Graph, kept: Channels, before: Teacher | None) -> Teacher:
    """The original network and what is left of it once channels are removed, also when that happens in several steps.

    Args:
        graph: before this removal; cloned where it is the original.
        kept: which of its output channels each layer keeps.
        before: the original and what earlier steps left of it; None when this is the first.
    """
    if before is None:
        return Teacher(clone(graph), kept)
    # What the original does not have, as the first layer of a pair, is compared with nothing.
    left = {name: before.kept[name][indices] for name, indices in kept.items() if name in before.kept}
    return replace(before, kept=left)


def whole_teacher(graph: Graph, before: Teacher | None, zeroed: frozenset[str] = frozenset()) -> Teacher:
    """The original network where every output channel stays and only weights change.

    Args:
        graph: before that change; cloned where it is the original.
        before: the original and what earlier steps left of it; None when this is the first.
        zeroed: layers of which single weights become zero.
    """
    if before is not None:
        return replace(before, zeroed=before.zeroed | zeroed)
    convolutions = [node for node in graph.nodes if node.op == "Conv" and isinstance(node.inputs[1], gs.Constant)]
    whole = {node.name: np.arange(node.inputs[1].shape[0]) for node in convolutions}
    return Teacher(clone(graph), whole, zeroed)


def factored_teacher(graph: Graph, before: Teacher | None, pairs: Mapping[str, Pair]) -> Teacher:
    """The original network where layers became pairs of layers; every output channel stays.

    Args:
        graph: before that change; not to be changed after it.
        before: the original and what earlier steps left of it; None when this is the first.
        pairs: the layers that became two.
    """
    if before is not None:
        return replace(before, pairs={**before.pairs, **pairs})
    return Teacher(graph, _whole(graph), pairs=pairs)


def shortened_teacher(graph: Graph, before: Teacher | None, rewired: frozenset[str]) -> Teacher:
    """The original network where nodes were left out or replaced; every output channel of the others stays.

    Args:
        graph: before that change; not to be changed after it.
        before: the original and what earlier steps left of it; None when this is the first.
        rewired: nodes that read another tensor than they did, or give another result.
    """
    if before is not None:
        return replace(before, rewired=before.rewired | rewired)
    return Teacher(graph, _whole(graph), rewired=rewired)


def _whole(graph: Graph) -> Channels:
    """All output channels of convolutions and of Gemm."""
    layers = [node for node in graph.nodes if node.op in ("Conv", "Gemm") and isinstance(node.inputs[1], gs.Constant)]
    outputs = {node.name: node.inputs[1].shape[output_axis(node, len(node.inputs[1].shape))] for node in layers}
    return {name: np.arange(count) for name, count in outputs.items()}


def rewritten(teacher: Teacher, rewrite: Callable[[Graph], object]) -> Teacher:
    """The same lineage from an original that a rewrite has changed, such as one whose normalizations are folded.

    Args:
        teacher: stays as it is.
        rewrite: changes a graph in place and leaves the channels of its layers alone.
    """
    graph = clone(teacher.graph)
    rewrite(graph)
    refresh(graph)
    return replace(teacher, graph=graph)
