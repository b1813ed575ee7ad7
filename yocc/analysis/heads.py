"""Where the network ends and decoding begins, found from the structure of the graph and never from names.

The last weighted layers of a detector and the arithmetic behind them (boxes, scores, strides, anchors) tolerate neither
int8 nor fp16: a score near 0 and a coordinate near 640 share one tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import weight_of
from yocc.compiler.graph.layers import is_weighted

_QUANTIZING = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Head:
    """The last weighted layers in front of some outputs, and what follows them.

    Attributes:
        layers: the last layers, as `final_layers` finds them, in node order.
        decode: the nodes on the way to the outputs that no layer follows, in node order.
    """

    layers: tuple[gs.Node, ...]
    decode: tuple[gs.Node, ...]

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of each layer; 0 where a layer is not a convolution with constant weights."""
        return tuple(output_channels(node) for node in self.layers)

    @property
    def pointwise(self) -> bool:
        """Whether every layer is a 1x1 convolution, as the last ones of a YOLO head are."""
        return all(_is_pointwise(node) for node in self.layers)

    @property
    def squashes(self) -> bool:
        """Whether the decoding has a Sigmoid, so that scores leave the graph as probabilities."""
        return any(node.op == "Sigmoid" for node in self.decode)


def find_head(graph: Graph, outputs: Sequence[gs.Variable]) -> Head:
    """The head in front of some outputs; without layers when no weighted layer feeds them.

    Args:
        graph: the detector.
        outputs: the outputs to walk back from.
    """
    flow = _Flow(graph)
    layers: set[str] = set()
    decode: set[str] = set()
    for tensor in outputs:
        tail = flow.tail(tensor.name)
        layers |= flow.last_layers(tail)
        decode |= tail - flow.layers
    return Head(
        tuple(node for node in graph.nodes if node.name in layers),
        tuple(node for node in graph.nodes if node.name in decode),
    )


def final_layers(graph: Graph) -> list[gs.Node]:
    """The last weighted layers before each graph output, in node order.

    A layer is last for an output when it reaches it without passing another layer, unless it also feeds another layer
    that does: of a residual sum only the branch that comes later is last.
    """
    return list(find_head(graph, graph.outputs).layers)


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


def straight_readers(graph: Graph) -> list[gs.Node]:
    """Dense layers that alone read what another dense layer gives, without an activation between, in node order.

    The second layers of low-rank pairs are such. What they read is spread around zero, so that in asymmetric codes it
    fills the middle of the range and both ends.
    """
    makers = {tensor.name: node for node in graph.nodes for tensor in node.outputs}
    readers: dict[str, int] = {}
    for node in graph.nodes:
        for name in _reads(node):
            readers[name] = readers.get(name, 0) + 1
    found = []
    for node in graph.nodes:
        if not _is_dense(node):
            continue
        name = node.inputs[0].name
        while name in makers and makers[name].op in _QUANTIZING and readers[name] == 1:
            name = makers[name].inputs[0].name
        if name in makers and readers[name] == 1 and _is_dense(makers[name]):
            found.append(node)
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


def output_channels(node: gs.Node) -> int:
    """Output channels of a convolution with constant weights; 0 for other nodes."""
    weight = weight_of(node)
    return int(weight.shape[0]) if node.op == "Conv" and weight is not None else 0


def _is_dense(node: gs.Node) -> bool:
    return is_weighted(node) and node.attrs.get("group", 1) == 1


def _is_pointwise(node: gs.Node) -> bool:
    weight = weight_of(node)
    return node.op == "Conv" and weight is not None and set(weight.shape[2:]) == {1}


class _Flow:
    """Who feeds whom, by node name; what a subgraph captures counts as read by the node that holds it."""

    def __init__(self, graph: Graph) -> None:
        self.layers = {node.name for node in graph.nodes if is_weighted(node)}
        # `Shape` reads no values, so a walk back ends there.
        self._ends = self.layers | {node.name for node in graph.nodes if node.op == "Shape"}
        self._producer = {tensor.name: node.name for node in graph.nodes for tensor in node.outputs if tensor.name}
        self._before: dict[str, set[str]] = {}
        self._after: dict[str, set[str]] = {node.name: set() for node in graph.nodes}
        for node in graph.nodes:
            self._before[node.name] = {self._producer[name] for name in _reads(node) if name in self._producer}
            for name in self._before[node.name]:
                self._after[name].add(node.name)

    def tail(self, output: str) -> set[str]:
        """Nodes whose values reach an output without passing a layer, and the layers where the walk back stops."""
        if output not in self._producer:
            return set()
        return _closure([self._producer[output]], self._before, stop=self._ends)

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
