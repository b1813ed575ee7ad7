"""Walking serialized models: nodes and subgraphs at every depth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Some nodes and every node of their subgraphs."""
    for node in nodes:
        yield node
        for subgraph in _own_subgraphs(node):
            yield from all_nodes(subgraph.node)


def all_subgraphs(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    """Every subgraph of some nodes, those within subgraphs included."""
    for node in all_nodes(nodes):
        yield from _own_subgraphs(node)


def _own_subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
