"""Half the bytes on disk: weights stored in half precision behind Casts."""

from __future__ import annotations

import numpy as np
import onnx


def store_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with every weight of two or more dimensions stored as float16 and cast to float32 in the graph.

    What has one number per channel stays float32: it is small, and a BatchNorm's variance spans many orders.

    Args:
        model: float32, as `to_graph` makes it; not changed.

    Returns:
        A copy that computes in float32 with rounded weights.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    casts = []
    for tensor in copy.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        name = tensor.name
        values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, f"{name}_half"))
        casts.append(
            onnx.helper.make_node("Cast", [tensor.name], [name], name=f"{name}/Cast", to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *copy.graph.node]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy
