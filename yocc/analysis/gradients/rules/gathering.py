"""Gradients of operators that take or put values at places given by indices, which may depend on the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import onnx_graphsurgeon as gs

from yocc.analysis.gradients.builder import Builder, NoGradient
from yocc.analysis.gradients.rules.rule import Gradients, Rule, Slots, only_first


def _gather(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    shape, indices = b.shape(node.inputs[0]), node.inputs[1]
    axis = node.attrs.get("axis", 0) % len(shape)
    count = math.prod(b.shape(indices))
    taken = [*shape[:axis], count, *shape[axis + 1 :]]
    rows = b.reshaped(g, taken)
    places = b.known(indices)
    if places is not None:
        return {0: b.scattered(rows, taken, axis, places.reshape(-1) % shape[axis], shape[axis])}
    column = b.reshaped(indices, [count if place == axis else 1 for place in range(len(shape))])
    full = b.emit("Expand", column, b.integers(taken))
    return {0: b.emit("ScatterElements", b.zeros(shape), full, rows, axis=axis, reduction="add")}


def _gather_elements(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    zeros, axis = b.zeros(b.shape(node.inputs[0])), node.attrs.get("axis", 0)
    return {0: b.emit("ScatterElements", zeros, node.inputs[1], g, axis=axis, reduction="add")}


def _gather_nd(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    if node.attrs.get("batch_dims", 0):
        raise NoGradient("it gathers from each sample on its own")
    return {0: b.emit("ScatterND", b.zeros(b.shape(node.inputs[0])), node.inputs[1], g, reduction="add")}


def _scatter_elements(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    _, indices, updates = node.inputs
    axis, adds = node.attrs.get("axis", 0), _adds(node)
    found = {}
    if 0 in slots:
        nothing = b.zeros(b.shape(updates))
        found[0] = g if adds else b.emit("ScatterElements", g, indices, nothing, axis=axis)
    if 2 in slots:
        found[2] = b.emit("GatherElements", g, indices, axis=axis)
    return found


def _scatter_nd(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    _, indices, updates = node.inputs
    found = {}
    if 0 in slots:
        found[0] = g if _adds(node) else b.emit("ScatterND", g, indices, b.zeros(b.shape(updates)))
    if 2 in slots:
        found[2] = b.emit("GatherND", g, indices)
    return found


def _adds(node: gs.Node) -> bool:
    reduction = node.attrs.get("reduction", "none")
    if reduction not in ("none", "add"):
        raise NoGradient(f"it reduces by {reduction}")
    return bool(reduction == "add")


def _top_k(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    only_first(slots, "how many are taken is computed")
    zeros, axis = b.zeros(b.shape(node.inputs[0])), node.attrs.get("axis", -1)
    return {0: b.emit("ScatterElements", zeros, node.outputs[1], g, axis=axis, reduction="add")}


def _running_sum(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    only_first(slots, "its axis is computed")
    reverse, exclusive = (node.attrs.get(name, 0) for name in ("reverse", "exclusive"))
    return {0: b.emit("CumSum", g, node.inputs[1], reverse=1 - reverse, exclusive=exclusive)}


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "CumSum": _running_sum,
        "Gather": _gather,
        "GatherElements": _gather_elements,
        "GatherND": _gather_nd,
        "ScatterElements": _scatter_elements,
        "ScatterND": _scatter_nd,
        "TopK": _top_k,
    }
)
