"""New nodes and constants of a graph, under names that nothing has."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph

Array = np.ndarray[Any, Any]


class Writer:
    """Adds to one graph.

    Args:
        graph: changed in place by `node`.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._taken = {*graph.tensors(), *(node.name for node in graph.nodes)}
        self._tables: dict[str, gs.Constant] = {}

    def node(
        self, op: str, name: str, inputs: list[gs.Tensor], dtype: Any, attributes: dict[str, Any] | None = None
    ) -> gs.Variable:
        """The output of a new node, both of one name."""
        name = self._free(name)
        output = gs.Variable(name, dtype=np.dtype(dtype))
        self._graph.nodes.append(gs.Node(op, name, attributes or {}, inputs, [output]))
        return output

    def constant(self, name: str, values: Array) -> gs.Constant:
        """A constant of its own."""
        return gs.Constant(self._free(name), np.ascontiguousarray(values))

    def table(self, name: str, values: Array) -> gs.Constant:
        """A constant that all who ask for it by this name share."""
        if name not in self._tables:
            self._tables[name] = self.constant(f"yocc/{name}", values)
        return self._tables[name]

    def _free(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name
