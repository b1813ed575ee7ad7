"""Copying a graph so that no change of the copy reaches the original; graphsurgeon's own copy is not enough.

It loses the kind of sequences, fixes the exported type of constants, shares attribute lists, and gives each subgraph a
copy of the weights it captures, which then no longer follow the outer ones.
"""

from __future__ import annotations

from typing import Any

import onnx
import onnx_graphsurgeon as gs


class EmptyList(list[Any]):
    """An attribute without values, which alone do not tell its type.

    Attributes:
        kind: its type, a value of `onnx.AttributeProto.AttributeType`.
    """

    def __init__(self, kind: int) -> None:
        super().__init__()
        self.kind = kind


def copy_graph(graph: gs.Graph) -> gs.Graph:
    """Copy nodes, tensors, attributes and subgraphs; weight arrays are shared."""
    copied = graph.copy()
    copied.producer_name, copied.producer_version = graph.producer_name, graph.producer_version
    if graph.import_domains is not None:
        copied.import_domains = [onnx.helper.make_opsetid(one.domain, one.version) for one in graph.import_domains]
    _finish(graph, copied, {})
    return copied


def _finish(original: gs.Graph, copied: gs.Graph, outer: dict[str, gs.Tensor]) -> None:
    originals = original.tensors()
    for name, tensor in copied.tensors().items():
        if isinstance(tensor, gs.Constant):
            tensor._export_dtype = originals[name]._export_dtype
        else:
            tensor.type = originals[name].type
    for node in copied.nodes:
        for index, tensor in enumerate(node.inputs):
            if isinstance(tensor, gs.Constant) and tensor.name in outer:
                node.inputs[index] = outer[tensor.name]
        node.attrs = {key: _copy_attribute(value) for key, value in node.attrs.items()}
    visible = {**outer, **{name: tensor for name, tensor in copied.tensors().items() if name not in outer}}
    for before, after in zip(original.subgraphs(), copied.subgraphs(), strict=True):
        _finish(before, after, visible)


def _copy_attribute(value: Any) -> Any:
    if isinstance(value, EmptyList):
        return EmptyList(value.kind)
    if isinstance(value, list):
        return list(value)
    if isinstance(value, gs.Constant):
        return gs.Constant(value.name, value._values, export_dtype=value._export_dtype)
    return value
