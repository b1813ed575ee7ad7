"""The part of a model that its outputs depend on."""

from __future__ import annotations

import onnx

from yocc.compiler.graph.order import captured


def needed(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The part of a model that its outputs depend on; None if that is all of it.

    onnxruntime does not load a model with an operator it lacks even where nothing that is asked for depends on it.
    """
    wanted = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted |= captured(node)
    if len(kept) == len(model.graph.node):
        return None
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:]
    part.graph.node.extend(kept[::-1])
    return part
