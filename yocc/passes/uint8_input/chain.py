"""Operators one behind the other, in front of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.types import numpy_type

Array = np.ndarray[Any, Any]


class Chain:
    """Appends operators that each read what the one before gave.

    Args:
        graph: takes the operators.
        tensor: what the first one reads.
    """

    def __init__(self, graph: Graph, tensor: gs.Variable) -> None:
        self.tensor = tensor
        self.made: list[gs.Node] = []
        self._graph = graph
        self._name = tensor.name
        self._taken = {*graph.tensors(), *(node.name for node in graph.nodes)}

    def cast(self, dtype: Any) -> None:
        """Convert to a type, where it is another."""
        kind = numpy_type(dtype)
        if numpy_type(self.tensor.dtype) != kind:
            self.append("Cast", [], {"to": kind.type}, kind)

    def transpose(self, order: Sequence[int]) -> None:
        """Reorder the axes."""
        shape = [self.tensor.shape[axis] for axis in order]
        self.append("Transpose", [], {"perm": list(order)}, self.tensor.dtype, shape)

    def reverse(self, channel: int) -> None:
        """Reverse the channels."""
        places = np.arange(self.tensor.shape[channel] - 1, -1, -1, dtype=np.int64)
        self.append("Gather", [self.constant("order", places)], {"axis": channel}, self.tensor.dtype)

    def arithmetic(self, op: str, numbers: Array, channel: int, *, neutral: float) -> None:
        """Compute with one number, or one for each channel; nothing where all are neutral."""
        if (numbers == neutral).all():
            return
        kind = numpy_type(self.tensor.dtype)
        if numbers.size > 1:
            numbers = numbers.reshape([-1 if axis == channel else 1 for axis in range(4)])
        self.append(op, [self.constant(op.lower(), numbers.astype(kind))], {}, kind)

    def feed(self, tensor: gs.Variable) -> None:
        """Let what reads a tensor read the end of the chain instead."""
        for node in list(tensor.outputs):
            for slot, each in enumerate(node.inputs):
                if each is tensor:
                    node.inputs[slot] = self.tensor

    def append(
        self, op: str, inputs: Sequence[gs.Tensor], attributes: dict[str, Any], dtype: Any, shape: Any = None
    ) -> None:
        """Compute with the end of the chain, whose shape the result has where none is given."""
        shape = self.tensor.shape if shape is None else shape
        self.tensor = self.node(op, [self.tensor, *inputs], dtype, attributes, shape)

    def node(
        self,
        op: str,
        inputs: Sequence[gs.Tensor],
        dtype: Any,
        attributes: dict[str, Any] | None = None,
        shape: Any = None,
    ) -> gs.Variable:
        """An operator beside the chain, and what it gives."""
        name = self._unused(op.lower())
        output = gs.Variable(f"{name}_output", dtype, shape)
        made = gs.Node(op, name, attributes or {}, list(inputs), [output])
        self._graph.nodes.insert(len(self.made), made)
        self.made.append(made)
        return output

    def constant(self, kind: str, values: Array) -> gs.Constant:
        """Numbers under a name of their own."""
        return gs.Constant(self._unused(kind), np.ascontiguousarray(values).reshape(values.shape))

    def _unused(self, kind: str) -> str:
        name = f"{self._name}_{kind}"
        while {name, f"{name}_output"} & self._taken:
            name += "_"
        self._taken |= {name, f"{name}_output"}
        return name
