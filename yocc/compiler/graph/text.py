"""Refusing names and strings that are not UTF-8: protobuf reads them without a word and hands out bytes instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

from yocc.compiler.graph.payload import tensors_of
from yocc.compiler.graph.protos import all_nodes, all_subgraphs
from yocc.errors import ModelError


def check(model: onnx.ModelProto) -> None:
    """Refuse text that is not UTF-8, in subgraphs and functions too.

    Raises:
        ModelError: with the text as Python writes it.
    """
    for text in _texts(model):
        if isinstance(text, bytes):
            _require_utf8(text)
    for attribute in _attributes(_nodes(model)):
        for value in (attribute.s, *attribute.strings):
            _require_utf8(value)


def _require_utf8(value: bytes) -> None:
    try:
        value.decode()
    except UnicodeDecodeError:
        shown = value if len(value) <= 40 else value[:40] + b"..."
        raise ModelError(
            f"The model holds the text {shown!r}, which is not UTF-8.", "Export it again with names in UTF-8."
        ) from None


def _texts(model: onnx.ModelProto) -> Iterator[str | bytes]:
    yield from (model.producer_name, model.producer_version, model.domain, model.doc_string)
    for entry in model.metadata_props:
        yield from (entry.key, entry.value)
    yield from (opset.domain for opset in model.opset_import)
    for function in model.functions:
        yield from (function.name, function.domain, *function.input, *function.output, *function.attribute)
        yield from (opset.domain for opset in function.opset_import)
    for graph in (model.graph, *_subgraphs(model)):
        yield from (graph.name, graph.doc_string)
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield value.name
            yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for node in _nodes(model):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
    for attribute in _attributes(_nodes(model)):
        yield from (attribute.name, attribute.ref_attr_name)
    for tensor in tensors_of(model):
        yield tensor.name
        for location in tensor.external_data:
            yield from (location.key, location.value)


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    yield from all_nodes(model.graph.node)
    for function in model.functions:
        yield from all_nodes(function.node)


def _subgraphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    yield from all_subgraphs(model.graph.node)
    for function in model.functions:
        yield from all_subgraphs(function.node)


def _attributes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.AttributeProto]:
    for node in nodes:
        yield from node.attribute
