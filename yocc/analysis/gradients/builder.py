"""Adding nodes to a graph that computes gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.forms import new_node
from yocc.compiler.graph.shapes import Shapes
from yocc.errors import PassError

Array = np.ndarray[Any, Any]

REMEDY = "Name a criterion without gradients, as in --pipeline 'prune{criterion=reconstruction}'."


class NoGradient(PassError):  # noqa: N818 # a reason
    """A gradient cannot be had; the reason completes "because".

    Args:
        reason: why.
        node: the node it cannot go through, empty where it is none in particular.
        op: that node's operator.
    """

    def __init__(self, reason: str, *, node: str = "", op: str = "") -> None:
        super().__init__(f"The gradient{f' of {op}' * bool(op)} is not known because {reason}.", REMEDY, node)
        self.reason = reason


class Builder:
    """Emits nodes into a graph.

    Args:
        graph: gets the nodes.
        shapes: concrete shapes of its tensors.
    """

    def __init__(self, graph: Graph, shapes: Shapes) -> None:
        self.graph = graph
        self._shapes = shapes
        self._count = 0

    def emit(self, op: str, *inputs: gs.Tensor, **attributes: Any) -> gs.Variable:
        """Append a node with one output and return that; attributes as in `yocc.compiler.graph.forms.operator_form`."""
        return self.emit_all(op, list(inputs), 1, **attributes)[0]

    def emit_all(self, op: str, inputs: Sequence[gs.Tensor], outputs: int, **attributes: Any) -> list[gs.Variable]:
        """Append a node and return its outputs."""
        name = self._name()
        found = [gs.Variable(f"{name}_{place}") for place in range(outputs)]
        self.graph.nodes.append(new_node(op, name, inputs, found, self.graph.opset, attributes))
        return found

    def constant(self, values: Any) -> gs.Constant:
        """A constant."""
        return gs.Constant(self._name(), np.ascontiguousarray(values))

    def number(self, value: float) -> gs.Constant:
        """A float32 scalar."""
        return self.constant(np.array(value, np.float32))

    def integers(self, values: Sequence[int]) -> gs.Constant:
        """An int64 list, as shapes and axes are given."""
        return self.constant(np.array(values, np.int64))

    def zeros(self, shape: Sequence[int]) -> gs.Variable:
        """Zeros that are made when the graph runs."""
        return self.emit("ConstantOfShape", self.integers(shape))

    def shape(self, tensor: gs.Tensor) -> tuple[int, ...]:
        """The concrete shape of a tensor of the original graph.

        Raises:
            NoGradient: it depends on data.
        """
        shape = self._shapes.of(tensor)
        if shape is None:
            raise NoGradient(f"the shape of {tensor.name!r} depends on data")
        return shape

    def value(self, tensor: gs.Tensor) -> Any:
        """The value of a small tensor that depends on shapes and constants only.

        Raises:
            NoGradient: it depends on data.
        """
        values = self._shapes.values.get(tensor.name)
        if values is None:
            raise NoGradient(f"the value of {tensor.name!r} depends on data")
        return values

    def known(self, tensor: gs.Tensor) -> Any:
        """The same, None where it depends on data."""
        return self._shapes.values.get(tensor.name)

    def reshaped(self, tensor: gs.Tensor, shape: Sequence[int]) -> gs.Variable:
        """The same values in another shape."""
        return self.emit("Reshape", tensor, self.integers(shape))

    def flat(self, tensor: gs.Tensor) -> gs.Variable:
        """The same values in one row."""
        return self.reshaped(tensor, [-1])

    def where(self, condition: gs.Tensor, yes: gs.Tensor, no: gs.Tensor | None = None) -> gs.Variable:
        """One or the other, element by element; zero for `no` left out."""
        return self.emit("Where", condition, yes, self.number(0.0) if no is None else no)

    def inside(self, tensor: gs.Tensor, low: float, high: float) -> gs.Variable:
        """Whether values lie strictly between two bounds."""
        above = self.emit("Greater", tensor, self.number(low))
        return self.emit("And", above, self.emit("Less", tensor, self.number(high)))

    def swapped(self, tensor: gs.Tensor, rank: int) -> gs.Variable:
        """The last two of `rank` axes exchanged."""
        return self.emit("Transpose", tensor, perm=[*range(rank - 2), rank - 1, rank - 2])

    def like(self, gradient: gs.Variable, node: gs.Node, slot: int) -> gs.Variable:
        """The gradient of an operand that may have been broadcast: summed over the axes along which it was repeated.

        Args:
            gradient: of the shape of the node's output.
            node: an elementwise operator.
            slot: which operand.
        """
        return self.summed(gradient, self.shape(node.outputs[0]), self.shape(node.inputs[slot]))

    def summed(self, gradient: gs.Variable, full: Sequence[int], wanted: Sequence[int]) -> gs.Variable:
        """A gradient of one shape summed to a shape that broadcasts to it."""
        if tuple(full) == tuple(wanted):
            return gradient
        spare = len(full) - len(wanted)
        axes = [*range(spare), *(spare + axis for axis, side in enumerate(wanted) if full[spare + axis] != side)]
        return self.reshaped(self.emit("ReduceSum", gradient, axes=axes, keepdims=1), wanted)

    def scattered(
        self, gradient: gs.Variable, shape: Sequence[int], axis: int, places: Sequence[int] | Array, side: int
    ) -> gs.Variable:
        """The gradient by what elements were taken from along one axis: each goes back, and those of one place add up.

        Args:
            gradient: of what was taken.
            shape: its shape.
            axis: the axis, not negative.
            places: where each element along the axis came from, shape [shape[axis]].
            side: how many elements there were.
        """
        places = np.asarray(places, np.int64)
        if np.array_equal(places, np.arange(side)):
            return gradient
        if len(places) == 0:
            return self.zeros([side if place == axis else size for place, size in enumerate(shape)])
        first = int(places[0])
        if np.array_equal(places, np.arange(first, first + len(places))):
            before = [first if place == axis else 0 for place in range(len(shape))]
            after = [side - first - len(places) if place == axis else 0 for place in range(len(shape))]
            return self.emit("Pad", gradient, pads=[*before, *after])
        if len(np.unique(places)) == len(places):
            source = np.full(side, len(places), np.int64)
            source[places] = np.arange(len(places))
            nothing = self.zeros([1 if place == axis else size for place, size in enumerate(shape)])
            return self.emit(
                "Gather", self.emit("Concat", gradient, nothing, axis=axis), self.constant(source), axis=axis
            )
        column = places.reshape([-1 if place == axis else 1 for place in range(len(shape))])
        full = self.emit("Expand", self.constant(column), self.integers(shape))
        zeros = self.zeros([side if place == axis else size for place, size in enumerate(shape)])
        return self.emit("ScatterElements", zeros, full, gradient, axis=axis, reduction="add")

    def _name(self) -> str:
        self._count += 1
        return f"gradient_node_{self._count}"
