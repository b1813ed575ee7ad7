"""Gradients of activations as a graph of their own: onnxruntime computes them, no training framework is needed.

Reverse-mode differentiation, node by node from the outputs back; what the graph is made of has a rule in `rules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, clone, convert_opset
from yocc.compiler.shapes import Shapes
from yocc.errors import PassError
from yocc.passes.gradients.builder import Builder, NoGradient
from yocc.passes.gradients.rules import RULES, Gradients

_OPSET = 16
"""ScatterElements adds from here on, which the gradient of a MaxPool needs."""


@dataclass(frozen=True)
class GradientGraph:
    """A graph that computes the gradient of a weighted sum of some tensors.

    Attributes:
        graph: takes the inputs of the original and a seed for each source.
        seeds: name of the input with the weights, by source.
        gradients: the gradient's tensor, by the tensor differentiated by; those the sources do not depend on are left
            out.
        builder: adds what is to be computed of the gradients; the caller sets the graph's outputs.
    """

    graph: Graph
    seeds: Mapping[str, str]
    gradients: Mapping[str, gs.Variable]
    builder: Builder


def gradient_graph(graph: Graph, shapes: Shapes, sources: Iterable[str], wanted: Iterable[str]) -> GradientGraph:
    """Differentiate sum(seed * source), summed over the sources, by the wanted tensors.

    Args:
        graph: sorted; not changed.
        shapes: its concrete shapes.
        sources: names of tensors.
        wanted: names of tensors on the way to them.

    Raises:
        PassError: an operator on the way has no rule, or its gradient depends on more than constants.
    """
    own = clone(graph)
    if own.opset < _OPSET:
        own = convert_opset(own, _OPSET)
    tensors = own.tensors()
    builder = Builder(own, shapes)
    goals = set(wanted)
    moved = _depends_on(own, goals)
    forward = list(own.nodes)
    seeds: dict[str, str] = {}
    gradients: dict[str, gs.Variable] = {}
    for source in dict.fromkeys(sources):
        seed = gs.Variable(f"seed_{len(seeds)}", np.float32, builder.shape(tensors[source]))
        own.inputs.append(seed)
        seeds[source] = seed.name
        gradients[source] = seed
    for node in reversed(forward):
        slots = [slot for slot, tensor in enumerate(node.inputs) if tensor.name in moved]
        if not slots or not any(tensor.name in gradients for tensor in node.outputs):
            continue
        for slot, gradient in _differentiate(builder, node, gradients, slots).items():
            name = node.inputs[slot].name
            gradients[name] = builder.emit("Add", gradients[name], gradient) if name in gradients else gradient
    return GradientGraph(own, seeds, {name: gradients[name] for name in goals if name in gradients}, builder)


def _differentiate(
    builder: Builder, node: gs.Node, gradients: Mapping[str, gs.Variable], slots: list[int]
) -> Gradients:
    try:
        if node.op == "Split":
            parts = [
                gradients[tensor.name] if tensor.name in gradients else builder.zeros(builder.shape(tensor))
                for tensor in node.outputs
            ]
            return {0: builder.emit("Concat", *parts, axis=node.attrs.get("axis", 0))}
        rule = RULES.get(node.op) if node.domain in (None, "", "ai.onnx") else None
        if rule is None or node.outputs[0].name not in gradients:
            raise NoGradient("there is no rule for it")
        return rule(builder, node, gradients[node.outputs[0].name], slots)
    except NoGradient as reason:
        raise PassError(
            f"The gradient of {node.op} is not known because {reason}.",
            "Use a criterion without gradients.",
            node=node.name,
        ) from reason


def _depends_on(graph: Graph, goals: set[str]) -> set[str]:
    """The goals and every tensor computed from them."""
    found = set(goals)
    for node in graph.nodes:
        if node.op != "Shape" and any(tensor.name in found for tensor in node.inputs):
            found |= {tensor.name for tensor in node.outputs}
    return found


def flat_gram(made: GradientGraph, tensor: str, shape: tuple[int, ...]) -> gs.Variable:
    """Sum over positions of g g', shape [channels, channels], for the gradient g by a tensor [1, channels, ...]."""
    builder = made.builder
    rows = builder.reshaped(made.gradients[tensor], [shape[1], int(np.prod(shape[2:]))])
    return builder.emit("MatMul", rows, builder.emit("Transpose", rows, perm=[1, 0]))
