"""Concrete shapes of every tensor, also of a graph whose shapes are symbolic.

Counting MACs and following channels through a Reshape need numbers. The graph keeps its symbolic dimensions; this
analysis walks it once with concrete input shapes and also evaluates the small integer arithmetic (Shape, Gather,
Concat, ...) by which exporters compute shapes at run time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import SMALL_CONSTANT, Graph, node_proto
from yocc.compiler.graph.evaluating import Array, Contradiction, evaluate, infer, known_shape, tensor_type
from yocc.compiler.graph.loops import carried_states, read_at_each_step, stacked
from yocc.compiler.graph.misfits import impossible, wrong_channels
from yocc.errors import ModelError, OptionError, YoccError

_KEEPS_SHAPE = frozenset({"GroupNormalization"})
"""Operators of which onnx infers no shape; their output has that of their first input."""
_ELEMENTWISE = frozenset({"Cast", "Identity", "Sub", "Add", "Mul", "Div", "Clip", "QuantizeLinear", "DequantizeLinear"})
"""What stands between a picture and the first layer without moving its axes."""
DEFAULT_SIDE = 640
"""Height and width assumed for a symbolic picture, the input size of most detectors in pixels."""


@dataclass(frozen=True)
class Shapes:
    """What is known of a graph's tensors for one choice of input shapes.

    Attributes:
        shapes: shape of each tensor whose shape could be found, constants included.
        values: value of each small tensor that depends on shapes and constants only, constants included.
    """

    shapes: Mapping[str, tuple[int, ...]]
    values: Mapping[str, Array]

    def of(self, tensor: gs.Tensor) -> tuple[int, ...] | None:
        """Shape of a tensor, or None when it depends on data."""
        return self.shapes.get(tensor.name)


def is_open(tensor: gs.Tensor) -> bool:
    """Whether a tensor's own shape is not known in full."""
    return tensor.shape is None or not all(map(_is_size, tensor.shape))


def _is_size(dim: object) -> bool:
    return isinstance(dim, int) and dim > 0


def concrete_shapes(graph: Graph, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Shapes:
    """Walk the graph with concrete input shapes.

    Args:
        graph: sorted, as after `refresh`.
        input_shapes: a shape for each input with symbolic dimensions; see `default_input_shapes`.

    Raises:
        OptionError: a given shape contradicts the graph's own, or sizes that the graph leaves open do not fit together
            with those given or assumed for them.
        ModelError: sizes do not fit together in a graph that leaves none open.
    """
    shapes: dict[str, tuple[int, ...]] = dict(default_input_shapes(graph))
    for name, shape in (input_shapes or {}).items():
        _check_input(graph, name, shape)
        shapes[name] = tuple(shape)
    known = KnownSizes.of_inputs(graph, shapes)
    for node in graph.nodes:
        try:
            known.add(node)
        except Contradiction as error:
            raise _blame(graph, node, shapes, str(error)) from error
    return Shapes(known.shapes, known.values)


@dataclass(frozen=True)
class KnownSizes:
    """What is known of a graph's tensors so far, in a walk that goes node by node in their order.

    Attributes:
        opset: version of the default operator set.
        shapes: as in `Shapes`.
        types: type of each tensor that has a shape here.
        values: as in `Shapes`.
    """

    opset: int
    shapes: dict[str, tuple[int, ...]]
    types: dict[str, Any]
    values: dict[str, Array]

    @classmethod
    def of_inputs(cls, graph: Graph, input_shapes: Mapping[str, tuple[int, ...]]) -> Self:
        """What is known before the first node: inputs of these shapes, which are not checked, and constants."""
        known = cls(graph.opset, dict(input_shapes), {tensor.name: tensor.dtype for tensor in graph.inputs}, {})
        for tensor in graph.tensors().values():
            if isinstance(tensor, gs.Constant):
                known.add_constant(tensor)
        return known

    def add_constant(self, tensor: gs.Constant) -> None:
        """Take in a constant."""
        _take_constant(tensor, self.shapes, self.types, self.values)

    def add(self, node: gs.Node) -> None:
        """Find out what a node gives.

        Raises:
            Contradiction: sizes at the node do not fit together.
        """
        _walk(node, self.opset, self.shapes, self.types, self.values)


def default_input_shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Shapes of the graph's inputs: batch 1, pictures of 640 x 640 and as many channels as layers need, where open."""
    shapes = {}
    for tensor in graph.inputs:
        if tensor.shape is None:
            continue
        dims = list(tensor.shape)
        for axis, size in _sizes_of_readers(tensor).items():
            if axis < len(dims) and not _is_size(dims[axis]):
                dims[axis] = size
        for axis, dim in enumerate(dims):
            if not _is_size(dim):
                dims[axis] = DEFAULT_SIDE if len(dims) == 4 and axis >= 2 else 1
        shapes[tensor.name] = tuple(dims)
    return shapes


def _sizes_of_readers(tensor: gs.Tensor) -> dict[int, int]:
    """By axis, the size that the weights of layers ask for that read an input, directly or behind elementwise steps."""
    waiting, seen = [tensor], set[str]()
    while waiting:
        read = waiting.pop()
        for node in read.outputs:
            weight: Sequence[int] = ()
            if len(node.inputs) > 1 and isinstance(node.inputs[1], gs.Constant):
                weight = node.inputs[1].shape
            if node.op == "Conv" and len(weight) > 2:
                return {1: int(weight[1]) * int(node.attrs.get("group", 1))}
            if node.op == "Gemm" and len(weight) == 2 and not node.attrs.get("transA"):
                return {1: int(weight[1 if node.attrs.get("transB") else 0])}
            if node.op in _ELEMENTWISE and node.name not in seen:
                seen.add(node.name)
                waiting += node.outputs
    return {}


def _blame(graph: Graph, node: gs.Node, shapes: Mapping[str, tuple[int, ...]], what: str) -> YoccError:
    """Sizes that do not fit are the model's fault only where it leaves none open."""
    data = node.inputs[:1] if node.op == "Reshape" else node.inputs
    known = ", ".join(f"{tensor.name!r} {list(shapes[tensor.name])}" for tensor in data if tensor.name in shapes)
    sizes = f"the sizes {known}" if known else "the inputs"
    opened = [tensor.name for tensor in graph.inputs if is_open(tensor) and tensor.name in shapes]
    if not opened:
        return ModelError(
            f"{sizes[0].upper()}{sizes[1:]} do not fit into {node.op}: {what}.", "Export it again.", node.name
        )
    taken = ", ".join(f"{name}={','.join(map(str, shapes[name]))}" for name in opened)
    return OptionError(
        f"With the input shape {taken}, {sizes} do not fit into {node.op}: {what}.",
        "Give the size the model is made for with --input-shape.",
        node.name,
    )


def _check_input(graph: Graph, name: str, shape: tuple[int, ...]) -> None:
    tensor = next((tensor for tensor in graph.inputs if tensor.name == name), None)
    if tensor is None:
        raise OptionError(
            f"The model has no input {name!r}.", f"Its inputs: {', '.join(t.name for t in graph.inputs)}."
        )
    fixed = tensor.shape if tensor.shape is not None else [None] * len(shape)
    if len(fixed) != len(shape) or any(
        isinstance(dim, int) and dim > 0 and dim != size for dim, size in zip(fixed, shape, strict=True)
    ):
        raise OptionError(f"Input {name!r} is {list(fixed)}, which {list(shape)} does not fit.")


def _walk(
    node: gs.Node,
    opset: int,
    shapes: dict[str, tuple[int, ...]],
    types: dict[str, Any],
    values: dict[str, Array],
) -> None:
    if node.op == "If" and not node.domain:
        _walk_branches(node, opset, shapes, types, values)
    if node.op in ("Loop", "Scan") and not node.domain:
        _walk_body(node, opset, shapes, types, values)
    if node.domain or any(True for _ in node.subgraphs()):
        return
    proto = node_proto(node)
    if node.op == "Shape" and node.inputs[0].name in shapes:
        read = shapes[node.inputs[0].name]
        dims = read[node.attrs.get("start", 0) : node.attrs.get("end", len(read))]
        _keep(proto, [np.array(dims, np.int64)], shapes, types, values)
        return
    names = [tensor.name for tensor in node.inputs if tensor.name]
    if names and all(name in values for name in names):
        _keep(proto, evaluate(proto, opset, {name: values[name] for name in names}), shapes, types, values)
        if proto.output[0] in shapes:
            return
    if not all(name in shapes and types.get(name) is not None for name in names):
        return
    if node.op in _KEEPS_SHAPE:
        shapes[proto.output[0]], types[proto.output[0]] = shapes[names[0]], types[names[0]]
        return
    read_shapes = [shapes.get(tensor.name) for tensor in node.inputs]
    problem = impossible(node, read_shapes, values.get(names[-1]) if names else None)
    for wrong in [problem] if problem else wrong_channels(node, read_shapes):
        raise Contradiction(wrong)
    kinds = {name: tensor_type(types[name], shapes[name]) for name in names}
    for name, kind in infer(proto, opset, kinds, {name: values[name] for name in names if name in values}).items():
        shape = known_shape(kind)
        if shape is not None and min(shape, default=0) < 0:
            raise Contradiction(f"its result cannot have the shape {list(shape)}")
        if shape is not None:
            shapes[name] = shape
            types[name] = onnx.helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type)
    if node.op == "Reshape" and proto.output[0] in shapes:
        before, after = shapes[proto.input[0]], shapes[proto.output[0]]
        if math.prod(before) != math.prod(after):
            raise Contradiction(f"{math.prod(before)} values cannot have the shape {list(after)}")


def _walk_branches(
    node: gs.Node,
    opset: int,
    shapes: dict[str, tuple[int, ...]],
    types: dict[str, Any],
    values: dict[str, Array],
) -> None:
    """Both branches of an If, whose names differ from all others; what both give in one shape is known."""
    branches = [node.attrs["then_branch"], node.attrs["else_branch"]]
    for branch in branches:
        for tensor in branch.tensors().values():
            if isinstance(tensor, gs.Constant) and tensor.name not in shapes:
                _take_constant(tensor, shapes, types, values)
        for inner in branch.nodes:
            _walk(inner, opset, shapes, types, values)
    for place, output in enumerate(node.outputs):
        names = [branch.outputs[place].name for branch in branches]
        if names[0] in shapes and shapes[names[0]] == shapes.get(names[1]):
            shapes[output.name], types[output.name] = shapes[names[0]], types[names[0]]


def _walk_body(
    node: gs.Node,
    opset: int,
    shapes: dict[str, tuple[int, ...]],
    types: dict[str, Any],
    values: dict[str, Array],
) -> None:
    """The body of a Loop or Scan, whose states keep their shapes from step to step where those are known.

    A state that a step gives another shape has no known one, nor has what depends on it: the body is walked again
    without, until all states that are left stay as they are.
    """
    body, states = node.attrs["body"], carried_states(node)
    open_states: set[str] = set()
    while True:
        found = dict(shapes), dict(types), dict(values)
        for state in states:
            if state.given.name in shapes and state.given.name in types and state.read.name not in open_states:
                found[0][state.read.name] = shapes[state.given.name]
                found[1][state.read.name] = types[state.given.name]
        for tensor, shape in read_at_each_step(node, shapes):
            found[0][tensor.name], found[1][tensor.name] = shape, tensor.dtype
        for tensor in body.tensors().values():
            if isinstance(tensor, gs.Constant) and tensor.name not in found[0]:
                _take_constant(tensor, *found)
        for inner in body.nodes:
            _walk(inner, opset, *found)
        changing = {
            state.read.name
            for state in states
            if state.read.name in found[0] and found[0][state.read.name] != found[0].get(state.written.name)
        }
        if not changing:
            break
        open_states |= changing
    shapes.update(found[0])
    types.update(found[1])
    values.update(found[2])
    for state in states:
        if state.read.name in shapes:
            shapes[state.result.name], types[state.result.name] = shapes[state.read.name], types[state.read.name]
    for result, shape, kind in stacked(node, shapes, types):
        shapes[result.name], types[result.name] = shape, kind


def _take_constant(
    tensor: gs.Constant, shapes: dict[str, tuple[int, ...]], types: dict[str, Any], values: dict[str, Array]
) -> None:
    shapes[tensor.name] = tuple(tensor.shape)
    types[tensor.name] = tensor.export_dtype
    if math.prod(tensor.shape) <= SMALL_CONSTANT:
        values[tensor.name] = tensor.values


def _keep(
    proto: onnx.NodeProto,
    results: list[Array] | None,
    shapes: dict[str, tuple[int, ...]],
    types: dict[str, Any],
    values: dict[str, Array],
) -> None:
    for name, value in zip(proto.output, results or (), strict=False):
        shapes[name], types[name] = value.shape, value.dtype
        if value.size <= SMALL_CONSTANT:
            values[name] = value
