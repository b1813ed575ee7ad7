"""Entries of serialized graphs that are repeated or out of date, and that onnx or graphsurgeon would believe."""

from __future__ import annotations

import onnx


def drop_captured_shapes(graph: onnx.GraphProto) -> None:
    """Remove from each subgraph the shapes of what it captures, which the graph around it infers."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                inner = attribute.g
                own = {name for child in inner.node for name in child.output}
                kept = [value for value in inner.value_info if value.name in own]
                del inner.value_info[:]
                inner.value_info.extend(kept)
                drop_captured_shapes(inner)


def drop_shadows(graph: onnx.GraphProto, outer: set[str]) -> None:
    """Remove the copies of captured weights that graphsurgeon exports into each subgraph that reads them."""
    own = [tensor for tensor in graph.initializer if tensor.name not in outer]
    if len(own) < len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(own)
    visible = outer | {tensor.name for tensor in own}
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                drop_shadows(attribute.g, visible)
