"""The graph all passes work on: loading and saving it, what its operators and shapes are, what it costs."""

from __future__ import annotations

from yocc.compiler.graph.graph import (
    OLDEST_OPSET,
    PROTOBUF_LIMIT,
    SMALL_CONSTANT,
    Graph,
    clone,
    convert_opset,
    from_proto,
    load,
    node_proto,
    refresh,
    refresh_model,
    save,
    skeleton,
    to_proto,
    weight_bytes,
)

__all__ = [
    "OLDEST_OPSET",
    "PROTOBUF_LIMIT",
    "SMALL_CONSTANT",
    "Graph",
    "clone",
    "convert_opset",
    "from_proto",
    "load",
    "node_proto",
    "refresh",
    "refresh_model",
    "save",
    "skeleton",
    "to_proto",
    "weight_bytes",
]
