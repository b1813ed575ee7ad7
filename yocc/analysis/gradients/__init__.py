"""Gradients of activations as a graph of their own: onnxruntime computes them, no training framework is needed.

Reverse-mode differentiation, node by node from the outputs back; what the graph is made of has a rule in `rules`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.gradients.builder import Builder, NoGradient
from yocc.analysis.gradients.rules import FLAT, RULES, Gradients, split
from yocc.compiler.graph import Graph, clone, convert_opset, to_proto
from yocc.compiler.graph.order import reads
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.passes import Arrays, PassContext, require_executor
from yocc.errors import BackendError, ModelError

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

    def runner(self, outputs: Sequence[gs.Tensor], ctx: PassContext) -> Callable[[Arrays], Arrays]:
        """What computes some tensors of the graph, which is complete then; without any, nothing is run.

        Args:
            outputs: float32 tensors; what is an input of the graph too is handed through.
            ctx: runs models.

        Raises:
            NoGradient: here or when it runs: the runtime does not run it.
        """
        given = {tensor.name for tensor in self.graph.inputs}
        computed = [tensor for tensor in outputs if tensor.name not in given]
        handed = [tensor.name for tensor in outputs if tensor.name in given]
        if not computed:
            return lambda arrays: {name: arrays[name] for name in handed}
        for tensor in computed:
            tensor.dtype = np.dtype(np.float32)
        self.graph.outputs = computed
        self.graph.cleanup().toposort()
        execute = require_executor(ctx, "Measuring")
        try:
            run = execute(to_proto(self.graph))
        except BackendError as error:
            raise NoGradient(f"it does not run: {error.message.rstrip('.')}") from error

        def compute(arrays: Arrays) -> Arrays:
            try:
                found = run(arrays)
            except BackendError as error:
                raise NoGradient(f"it does not run: {error.message.rstrip('.')}") from error
            return {**found, **{name: arrays[name] for name in handed}}

        return compute


def gradient_graph(graph: Graph, shapes: Shapes, sources: Iterable[str], wanted: Iterable[str]) -> GradientGraph:
    """Differentiate sum(seed * source), summed over the sources, by the wanted tensors.

    Args:
        graph: sorted; not changed.
        shapes: its concrete shapes.
        sources: names of tensors.
        wanted: names of tensors on the way to them.

    Raises:
        NoGradient: an operator on the way has no rule, its gradient depends on more than constants, or the shape of a
            source depends on data.
    """
    try:
        own = convert_opset(clone(graph), _OPSET)
    except ModelError as error:
        raise NoGradient(f"opset {graph.opset} cannot be raised to {_OPSET}") from error
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
        if moved.isdisjoint(reads(node)) or not any(tensor.name in gradients for tensor in node.outputs):
            continue
        for slot, gradient in _differentiate(builder, node, gradients, slots).items():
            name = node.inputs[slot].name
            gradients[name] = builder.emit("Add", gradients[name], gradient) if name in gradients else gradient
    return GradientGraph(own, seeds, {name: gradients[name] for name in goals if name in gradients}, builder)


def _differentiate(
    builder: Builder, node: gs.Node, gradients: Mapping[str, gs.Variable], slots: list[int]
) -> Gradients:
    try:
        if any(not _is_float32(node.inputs[slot]) for slot in slots):
            raise NoGradient("its values are not float32")
        plain = node.domain in (None, "", "ai.onnx")
        if plain and node.op == "Split" and slots == [0]:
            return {0: split(builder, node, [gradients.get(tensor.name) for tensor in node.outputs])}
        rule = RULES.get(node.op) if plain else None
        if rule is None or any(tensor.name in gradients for tensor in node.outputs[1:]):
            raise NoGradient("there is no rule for it")
        return rule(builder, node, gradients[node.outputs[0].name], slots)
    except NoGradient as reason:
        raise NoGradient(reason.reason, node=node.name, op=node.op) from reason


def _depends_on(graph: Graph, goals: set[str]) -> set[str]:
    """The goals and every tensor of numbers with a gradient computed from them."""
    found = set(goals)
    for node in graph.nodes:
        if node.op not in FLAT and not found.isdisjoint(reads(node)):
            found |= {tensor.name for tensor in node.outputs if not _is_whole(tensor)}
    return found


def _is_whole(tensor: gs.Tensor) -> bool:
    """Whether it is known to hold integers or truth values."""
    return isinstance(tensor.dtype, np.dtype | type) and np.dtype(tensor.dtype).kind in "biu"


def _is_float32(tensor: gs.Tensor) -> bool:
    """Whether it may hold float32."""
    return tensor.dtype is None or tensor.dtype == np.float32


def flat_gram(made: GradientGraph, tensor: str, shape: tuple[int, ...], axis: int = 1) -> gs.Variable:
    """Sum over positions of g g', shape [channels, channels], for the gradient g by a tensor.

    Args:
        made: the gradients.
        tensor: name of one that has a gradient.
        shape: its shape.
        axis: where its channels are; everything along the other axes is a position, the samples of a batch included.
    """
    builder, axis = made.builder, axis % len(shape)
    rows: gs.Variable = made.gradients[tensor]
    if math.prod(shape[:axis]) != 1:
        rows = builder.emit("Transpose", rows, perm=[axis, *(other for other in range(len(shape)) if other != axis)])
    rows = builder.reshaped(rows, [shape[axis], math.prod(shape) // shape[axis]])
    return builder.emit("MatMul", rows, builder.emit("Transpose", rows, perm=[1, 0]))
