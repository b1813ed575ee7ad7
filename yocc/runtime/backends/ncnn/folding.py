"""Nodes whose inputs are all constant, such as the grid a detector computes from its input's size."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx.reference import ReferenceEvaluator

from yocc.compiler.graph import node_proto

Array = np.ndarray[Any, Any]


def fold(node: gs.Node, values: list[Array | None], opset: int) -> list[Array] | None:
    """Compute a node on constants.

    Args:
        node: without subgraphs.
        values: of its inputs; None where one is empty.
        opset: of the graph.

    Returns:
        Its outputs; None when the evaluator does not know the operator.
    """
    proto = node_proto(node)
    known = {name: value for name, value in zip(proto.input, values, strict=True) if value is not None}
    undefined = onnx.TensorProto.UNDEFINED
    inputs = [onnx.helper.make_tensor_value_info(name, undefined, None) for name in known]
    outputs = [onnx.helper.make_tensor_value_info(name, undefined, None) for name in proto.output]
    graph = onnx.helper.make_graph([proto], "node", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        return [np.asarray(result) for result in ReferenceEvaluator(model).run(None, known)]
    except Exception:  # whatever the evaluator lacks; the node then meets its rule or a refusal
        return None
