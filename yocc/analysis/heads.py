"""Where the network ends and decoding begins, found from the structure of the graph and never from names.

The last weighted layers of a detector and the arithmetic behind them (boxes, scores, strides, anchors) tolerate neither
int8 nor fp16: a score near 0 and a coordinate near 640 share one tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.layers import is_weighted


def final_layers(graph: Graph) -> list[gs.Node]:
    """The last weighted layers before each graph output, in node order.

    A layer is last for an output when it reaches it without passing another layer, unless it also feeds another layer
    that does: of a residual sum only the branch that comes later is last.
    """
    flow = _Flow(graph)
    found: set[str] = set()
    for tensor in graph.outputs:
        found |= flow.last_layers(flow.tail(tensor.name))
    return [node for node in graph.nodes if node.name in found]


def first_layers(graph: Graph) -> list[gs.Node]:
    """The weighted layers that an input of the graph reaches without passing another layer, in node order."""
    reached = {tensor.name for tensor in graph.inputs}
    found = []
    for node in graph.nodes:
        if not reached.intersection(_reads(node)):
            continue
        if is_weighted(node):
            found.append(node)
        else:
            reached |= {tensor.name for tensor in node.outputs}
    return found


def decode_nodes(graph: Graph) -> set[str]:
    """Names of the nodes behind the last layers: after them on the way to an output, and before no other layer."""
    flow = _Flow(graph)
    feeds_layer = flow.upstream(flow.layers)
    found: set[str] = set()
    for tensor in graph.outputs:
        tail = flow.tail(tensor.name)
        found |= (tail - flow.layers) & flow.downstream(flow.last_layers(tail))
    return found - feeds_layer


class _Flow:
    """Who feeds whom, by node name; what a subgraph captures counts as read by the node that holds it."""

    def __init__(self, graph: Graph) -> None:
        self.layers = {node.name for node in graph.nodes if is_weighted(node)}
        self._producer = {tensor.name: node.name for node in graph.nodes for tensor in node.outputs if tensor.name}
        self._before: dict[str, set[str]] = {}
        self._after: dict[str, set[str]] = {node.name: set() for node in graph.nodes}
        for node in graph.nodes:
            self._before[node.name] = {self._producer[name] for name in _reads(node) if name in self._producer}
            for name in self._before[node.name]:
                self._after[name].add(node.name)

    def tail(self, output: str) -> set[str]:
        """Nodes that reach an output without passing a layer, and the layers where the walk back stops."""
        if output not in self._producer:
            return set()
        return _closure([self._producer[output]], self._before, stop=self.layers)

    def last_layers(self, tail: set[str]) -> set[str]:
        """The layers of a tail that feed no other layer of it."""
        layers = tail & self.layers
        return layers - self.upstream(layers)

    def upstream(self, nodes: Iterable[str]) -> set[str]:
        """Everything that feeds one of the nodes; a node of them only if it feeds another."""
        return _closure({before for name in nodes for before in self._before[name]}, self._before)

    def downstream(self, nodes: Iterable[str]) -> set[str]:
        """Everything that one of the nodes feeds."""
        return _closure({after for name in nodes for after in self._after[name]}, self._after)


def _closure(start: Iterable[str], edges: dict[str, set[str]], stop: set[str] | None = None) -> set[str]:
    found: set[str] = set()
    pending = list(start)
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        if stop is None or name not in stop:
            pending.extend(edges[name])
    return found


def _reads(node: gs.Node) -> Iterator[str]:
    yield from (tensor.name for tensor in node.inputs)
    for subgraph in node.subgraphs(recursive=True):
        yield from (tensor.name for tensor in subgraph.outputs)
        for inner in subgraph.nodes:
            yield from (tensor.name for tensor in inner.inputs)
