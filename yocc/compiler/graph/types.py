"""Element types of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs


def numpy_type(dtype: Any) -> np.dtype[Any]:
    """A tensor's element type; graphsurgeon keeps those that numpy lacks, such as bfloat16, by their ONNX number.

    One that ONNX leaves undefined is as if numpy lacked it, and four bytes large.
    """
    if isinstance(dtype, int) and dtype == onnx.TensorProto.UNDEFINED:
        return np.dtype("V4")
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(dtype) if isinstance(dtype, int) else dtype)


def deduce_types(graph: gs.Graph) -> int:
    """Type what operators give that onnx does not know, where a reader that it knows wants the type of another input.

    Returns:
        How many tensors were given a type.
    """
    deduced = 0
    for node in graph.nodes:
        if not any(tensor.name and tensor.dtype is None for tensor in node.inputs):
            continue
        if node.domain or not onnx.defs.has(node.op, graph.opset, ""):
            continue
        formal = onnx.defs.get_schema(node.op, graph.opset, "").inputs
        if not all(one.is_homogeneous for one in formal):
            continue
        names = [formal[min(slot, len(formal) - 1)].type_str for slot in range(len(node.inputs))] if formal else []
        known = {
            name: tensor.dtype
            for name, tensor in zip(names, node.inputs, strict=True)
            if tensor.name and tensor.dtype is not None
        }
        for name, tensor in zip(names, node.inputs, strict=True):
            if tensor.name and tensor.dtype is None and name in known:
                tensor.dtype = known[name]
                deduced += 1
    return deduced
