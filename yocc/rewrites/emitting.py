"""Appending nodes to a graph one by one, with names of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph

Array = np.ndarray[Any, Any]
_AXES_AS_INPUT = 18
"""Opset from which on ReduceMax takes its axes as an input; ReduceSum does from 13 on."""


class Emitter:
    """Appends nodes to a graph.

    Args:
        graph: gets the nodes; of opset 13 or newer.
        prefix: begins the names of all nodes and tensors.
    """

    def __init__(self, graph: Graph, prefix: str) -> None:
        self._graph, self._prefix = graph, prefix
        self._names = set(graph.tensors()) | {node.name for node in graph.nodes}
        self._number = 0

    def __call__(
        self, op: str, *inputs: gs.Tensor | Array, dtype: Any = np.float32, name: str = "", **attributes: Any
    ) -> gs.Variable:
        """Append a node with one output; arrays become constants.

        Args:
            op: the operator.
            inputs: its inputs.
            dtype: type of its output.
            name: of its output; made up where empty.
            attributes: of the node.
        """
        return self.many(op, *inputs, outputs={name or self._name(f"{op}_out"): dtype}, **attributes)[0]

    def many(
        self, op: str, *inputs: gs.Tensor | Array, outputs: Mapping[str, Any], **attributes: Any
    ) -> list[gs.Variable]:
        """Append a node with outputs of these names and types."""
        made = [gs.Variable(name, dtype) for name, dtype in outputs.items()]
        operands = [each if isinstance(each, gs.Tensor) else self.constant(each) for each in inputs]
        self._graph.nodes.append(gs.Node(op, self._name(op), attributes, inputs=operands, outputs=made))
        return made

    def top(self, values: gs.Tensor, most: gs.Tensor | Array, axis: int) -> gs.Variable:
        """Places of the largest values along an axis, the largest first."""
        names = {self._name("TopK_values"): np.float32, self._name("TopK_places"): np.int64}
        return self.many("TopK", values, most, outputs=names, axis=axis)[1]

    def constant(self, values: Array) -> gs.Constant:
        """A constant."""
        return gs.Constant(self._name("constant"), np.ascontiguousarray(values))

    def as_float(self, tensor: gs.Variable) -> gs.Variable:
        """A tensor in float32."""
        if tensor.dtype == np.float32:
            return tensor
        made = self("Cast", tensor, to=int(onnx.TensorProto.FLOAT))
        made.shape = tensor.shape
        return made

    def reshape(self, tensor: gs.Tensor, *shape: int, dtype: Any = np.float32, name: str = "") -> gs.Variable:
        """A tensor in another shape; 0 keeps a dimension and -1 stands for what is left over."""
        return self("Reshape", tensor, integers(*shape), dtype=dtype, name=name)

    def slice(
        self, tensor: gs.Tensor, axis: int, start: int, end: int, *, step: int = 1, dtype: Any = np.float32
    ) -> gs.Variable:
        """Part of a tensor along one axis."""
        return self("Slice", tensor, integers(start), integers(end), integers(axis), integers(step), dtype=dtype)

    def largest(self, tensor: gs.Tensor, axis: int | None, *, keep: bool) -> gs.Variable:
        """Maximum along an axis, or of everything."""
        given: dict[str, Any] = {"keepdims": int(keep)}
        if axis is None:
            return self("ReduceMax", tensor, **given)
        if self._graph.opset >= _AXES_AS_INPUT:
            return self("ReduceMax", tensor, integers(axis), **given)
        return self("ReduceMax", tensor, axes=[axis], **given)

    def _name(self, what: str) -> str:
        while True:
            name = f"{self._prefix}_{what}_{self._number}"
            self._number += 1
            if name not in self._names:
                self._names.add(name)
                return name


def integers(*values: int) -> Array:
    """Numbers as shapes and indices are written."""
    return np.array(values, np.int64)


def number(value: float) -> Array:
    """A float as a scalar."""
    return np.array(value, np.float32)
