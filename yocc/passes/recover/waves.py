"""Which layers are refitted, in which order, and which of them together because they share a weight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.windows import flat_weight, is_plain
from yocc.compiler.graph import Graph
from yocc.compiler.graph.layers import output_axis
from yocc.compiler.graph.order import reads
from yocc.compiler.pipeline.lineage import Teacher

Array = np.ndarray[Any, Any]
LARGEST = 2304
"""Inputs of a layer (channels times kernel) up to which it is refitted; the solve grows with their cube."""
Together = tuple[gs.Node, ...]
"""Layers with one weight, refitted at once; mostly a single one."""


def waves(graph: Graph, teacher: Teacher) -> list[list[Together]]:
    """Layers to refit, grouped by depth: none of a wave feeds another of it.

    Layers that share a weight stay in step: they are refitted when all before any of them are. Where that cannot be, as
    one of them feeds another, where their biases differ, or where something else reads the weight, they are left alone.
    """
    changed = _changed(graph, teacher)
    found = _by_depth(graph, teacher, _together(changed))
    if found is None:
        found = _by_depth(graph, teacher, [(node,) for node in changed if len(node.inputs[1].outputs) == 1])
    return found or []


def weights_of(node: gs.Node) -> tuple[Array, Array]:
    """Weight of shape [inputs, outputs] and bias of a Conv or Gemm, as they count in its output."""
    weight = flat_weight(node)
    bias = np.zeros(weight.shape[1])
    if len(node.inputs) > 2 and not node.inputs[2].is_empty():
        bias = bias + float(node.attrs.get("beta", 1.0)) * node.inputs[2].values.astype(np.float64).reshape(-1)
    return weight, bias


def _changed(graph: Graph, teacher: Teacher) -> list[gs.Node]:
    """Layers that can be refitted and read something else than they did."""
    originals = {node.name: node for node in teacher.graph.nodes}
    changed: set[str] = set()
    found = []
    for node in graph.nodes:
        touched = node.name in teacher.rewired or not changed.isdisjoint(reads(node))
        if _is_layer(node, teacher):
            original = originals.get(node.name)
            fewer = original is not None and inputs_of(original) != inputs_of(node)
            touched = touched or fewer or node.name in teacher.zeroed or node.name in teacher.pairs
            if touched and _can_refit(node):
                found.append(node)
        if touched:
            changed |= {tensor.name for tensor in node.outputs}
    return found


def _together(layers: Iterable[gs.Node]) -> list[Together]:
    by_weight: dict[int, list[gs.Node]] = {}
    for node in layers:
        by_weight.setdefault(id(node.inputs[1]), []).append(node)
    found = []
    for members in by_weight.values():
        parts = [weights_of(node) for node in members]
        alike = all(np.array_equal(part[which], parts[0][which]) for part in parts[1:] for which in (0, 1))
        if alike and len(members) == len(members[0].inputs[1].outputs):
            found.append(tuple(members))
    return found


def _by_depth(graph: Graph, teacher: Teacher, groups: list[Together]) -> list[list[Together]] | None:
    """The groups in waves; None where a layer of a group feeds another of it."""
    group_of: Mapping[str, int] = {node.name: place for place, group in enumerate(groups) for node in group}
    levels = [0] * len(groups)
    shared = sum(len(group) > 1 for group in groups)
    # Each round settles at least one more of the groups that wait for their deepest layer.
    for _ in range(shared + 2):
        before = list(levels)
        depth: dict[str, int] = {}
        for node in graph.nodes:
            level = max((depth.get(name, 0) for name in reads(node)), default=0) + _is_layer(node, teacher)
            if node.name in group_of:
                place = group_of[node.name]
                level = levels[place] = max(levels[place], level)
            depth.update(dict.fromkeys((tensor.name for tensor in node.outputs), level))
        if levels == before:
            return [
                [group for group, level in zip(groups, levels, strict=True) if level == wave]
                for wave in sorted(set(levels))
            ]
    return None


def _is_layer(node: gs.Node, teacher: Teacher) -> bool:
    return node.op in ("Conv", "Gemm") and node.name in teacher.kept and isinstance(node.inputs[1], gs.Constant)


def _can_refit(node: gs.Node) -> bool:
    if not is_plain(node) or inputs_of(node) > LARGEST:
        return False
    factors = node.attrs.get("alpha", 1.0), node.attrs.get("beta", 1.0)
    outputs = math.prod(node.inputs[1].shape) // inputs_of(node)
    biases = [tensor for tensor in node.inputs[2:] if not tensor.is_empty()]
    return all(factors) and all(isinstance(b, gs.Constant) and math.prod(b.shape) in (1, outputs) for b in biases)


def inputs_of(node: gs.Node) -> int:
    """Inputs of each output of a Conv or Gemm."""
    shape = node.inputs[1].shape
    axis = output_axis(node, len(shape))
    return math.prod(size for place, size in enumerate(shape) if place != axis)
