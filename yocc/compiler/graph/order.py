"""Topological order that leaves sorted graphs as they are, for serialized nodes and for graphsurgeon's."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import onnx
import onnx_graphsurgeon as gs

from yocc.errors import InternalError, ModelError


def sort_protos(graph: onnx.GraphProto) -> None:
    """Sort the nodes of a serialized graph in place.

    Raises:
        ModelError: the graph has a cycle, and so no order.
    """
    nodes = list(graph.node)
    order = stable_order([captured(node) for node in nodes], [list(node.output) for node in nodes])
    if len(order) < len(nodes):
        stuck = nodes[min(set(range(len(nodes))) - set(order))]
        raise ModelError("The graph has a cycle.", "Export the model again.", node=stuck.name or stuck.op_type)
    if order == list(range(len(nodes))):
        return
    copies = [onnx.NodeProto.FromString(nodes[index].SerializeToString()) for index in order]
    del graph.node[:]
    graph.node.extend(copies)


def sort_nodes(graph: gs.Graph) -> None:
    """Sort the nodes of a graph in place; unlike graphsurgeon's `toposort`, unrelated nodes keep their order.

    Raises:
        InternalError: a pass made a cycle.
    """
    nodes = list(graph.nodes)
    order = stable_order([set(reads(node)) for node in nodes], [[t.name for t in node.outputs] for node in nodes])
    if len(order) < len(nodes):
        raise InternalError("A pass made a cycle.")
    if order != list(range(len(nodes))):
        graph.nodes = [nodes[index] for index in order]


def is_sorted(graph: gs.Graph) -> bool:
    """Whether every tensor is produced before it is read."""
    produced: set[str] = set()
    local = {tensor.name for node in graph.nodes for tensor in node.outputs}
    for node in graph.nodes:
        if any(name in local and name not in produced for name in reads(node)):
            return False
        produced.update(tensor.name for tensor in node.outputs)
    return True


def stable_order(reads: Sequence[set[str]], writes: Sequence[Sequence[str]]) -> list[int]:
    """Positions in topological order; of the nodes that are ready, the one that stood first goes first.

    Args:
        reads: names each node reads; those no node writes are ready from the start.
        writes: names each node writes.

    Returns:
        Each position once; the positions on a cycle and behind it are missing.
    """
    writer = {name: index for index, names in enumerate(writes) for name in names if name}
    readers: list[list[int]] = [[] for _ in reads]
    missing = [0] * len(reads)
    for index, names in enumerate(reads):
        needed = {writer[name] for name in names if name in writer}
        missing[index] = len(needed)
        for source in needed:
            readers[source].append(index)
    ready = [index for index, count in enumerate(missing) if count == 0]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers[index]:
            missing[reader] -= 1
            if missing[reader] == 0:
                heapq.heappush(ready, reader)
    return order


def captured(node: onnx.NodeProto) -> set[str]:
    """Names a node reads, those its subgraphs take from outside included."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for subgraph in [attribute.g, *attribute.graphs]:
            inner = {name for child in subgraph.node for name in captured(child)}
            inner |= {value.name for value in subgraph.output}
            names |= inner - _defined(subgraph)
    return names


def reads(node: gs.Node) -> Iterator[str]:
    """Names a node reads, those its subgraphs take from outside included."""
    yield from (tensor.name for tensor in node.inputs if tensor.name)
    for subgraph in node.subgraphs():
        own = {tensor.name for inner in subgraph.nodes for tensor in inner.outputs}
        own |= {tensor.name for tensor in subgraph.inputs}
        wanted = {name for inner in subgraph.nodes for name in reads(inner)}
        wanted |= {tensor.name for tensor in subgraph.outputs}
        yield from sorted(wanted - own)


def _defined(graph: onnx.GraphProto) -> set[str]:
    names = {name for node in graph.node for name in node.output}
    names |= {value.name for value in graph.input}
    return names | {tensor.name for tensor in graph.initializer}
