"""What tests ask about a model's structure."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper


def initializers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The model's initializers by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def op_types(model: onnx.ModelProto) -> set[str]:
    """The operators the model uses."""
    return {node.op_type for node in model.graph.node}


def consumers(model: onnx.ModelProto) -> dict[str, list[str]]:
    """The names of the nodes that read each tensor."""
    readers: dict[str, list[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            if name:
                readers.setdefault(name, []).append(node.name)
    return readers
