"""Attributes that are empty lists: graphsurgeon forgets their type when it imports them and cannot export them."""

from __future__ import annotations

from typing import Any

import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

from yocc.compiler.graph.copying import EmptyList, copy_graph
from yocc.errors import InternalError


def remember_types(model: onnx.GraphProto, graph: gs.Graph) -> None:
    """Give each empty list of a graph the type it has in the model the graph was imported from, subgraphs included."""
    for proto, node in zip(model.node, graph.nodes, strict=True):
        for attribute in proto.attribute:
            value = node.attrs.get(attribute.name)
            if isinstance(value, gs.Graph):
                remember_types(attribute.g, value)
            elif isinstance(value, list) and not value:
                node.attrs[attribute.name] = EmptyList(attribute.type)


def without_empty_lists(graph: gs.Graph) -> gs.Graph:
    """A graph that graphsurgeon can export: the same, or a copy without its empty lists."""
    if not any(_empty(node) for one in [graph, *graph.subgraphs(recursive=True)] for node in one.nodes):
        return graph
    bare = copy_graph(graph)
    for one in [bare, *bare.subgraphs(recursive=True)]:
        for node in one.nodes:
            node.attrs = _filled(node)
    return bare


def append_empty_lists(graph: gs.Graph, model: onnx.GraphProto) -> None:
    """Give an exported graph the empty lists it was exported without."""
    for node, proto in zip(graph.nodes, model.node, strict=True):
        for attribute in proto.attribute:
            if attribute.HasField("g"):
                append_empty_lists(node.attrs[attribute.name], attribute.g)
        proto.attribute.extend(_empty(node))


def export_node(node: gs.Node) -> onnx.NodeProto:
    """Export one node as graphsurgeon does, empty lists included."""
    if not _empty(node):
        proto: onnx.NodeProto = OnnxExporter.export_node(node)
        return proto
    # Without its tensors, which would otherwise list the copy among their readers.
    proto = OnnxExporter.export_node(gs.Node(node.op, node.name, _filled(node), domain=node.domain))
    proto.input.extend(tensor.name for tensor in node.inputs)
    proto.output.extend(tensor.name for tensor in node.outputs)
    proto.attribute.extend(_empty(node))
    return proto


def _filled(node: gs.Node) -> dict[str, Any]:
    return {name: value for name, value in node.attrs.items() if not _is_empty(value)}


def _empty(node: gs.Node) -> list[onnx.AttributeProto]:
    return [
        onnx.helper.make_attribute(name, [], attr_type=_kind(node, name, value))
        for name, value in node.attrs.items()
        if _is_empty(value)
    ]


def _is_empty(value: Any) -> bool:
    return isinstance(value, list | tuple) and not value


def _kind(node: gs.Node, name: str, value: Any) -> int:
    """The type of an empty list; one that a pass made has the type of the operator's definition."""
    if isinstance(value, EmptyList):
        return value.kind
    if onnx.defs.has(node.op, node.domain or ""):
        declared = onnx.defs.get_schema(node.op, domain=node.domain or "").attributes
        if name in declared:
            kind: Any = declared[name].type
            return int(kind.value)
    raise InternalError(f"The attribute {name!r} of {node.name!r} is an empty list of no known type.")
