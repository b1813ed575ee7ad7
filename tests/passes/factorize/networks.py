"""Small networks with more directions than they need."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


def wide(seed: int = 0) -> onnx.ModelProto:
    """A network with more channels than it needs: each 3 x 3 layer has a rank of 6 of 16, up to some noise."""
    random = np.random.default_rng(seed)

    def low(*shape: int) -> np.ndarray[Any, Any]:
        first, second = random.normal(size=(shape[0], 6)), random.normal(size=(6, int(np.prod(shape[1:]))))
        found = first @ second / np.prod(shape[1:]) ** 0.5 / 6**0.5 + random.normal(
            0, 0.002, (shape[0], second.shape[1])
        )
        return found.reshape(shape).astype(np.float32)

    weights = {"w0": low(16, 3, 3, 3), "w1": low(16, 16, 3, 3), "w2": low(16, 16, 3, 3), "w3": low(7, 16, 1, 1)}
    weights |= {f"b{i}": random.normal(0, 0.1, 16).astype(np.float32) for i in range(3)}
    nodes = []
    for place, name in enumerate(("a", "b", "c")):
        source = "x" if place == 0 else f"h{place - 1}"
        nodes.append(helper.make_node("Conv", [source, f"w{place}", f"b{place}"], [name], name=name, pads=[1] * 4))
        nodes.append(helper.make_node("Sigmoid", [name], [f"s{place}"]))
        nodes.append(helper.make_node("Mul", [name, f"s{place}"], [f"h{place}"]))
    nodes.append(helper.make_node("Conv", ["h2", "w3"], ["y"], name="last"))
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("x", 1, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", 1, [1, 7, 16, 16])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def separable() -> onnx.ModelProto:
    """A network of kernels that are products along the axes of the picture, up to some noise."""
    model = wide()
    random = np.random.default_rng(5)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim == 4 and values.shape[2] == 3:
            n, c = values.shape[:2]
            first, second = random.normal(size=(12, c, 3)), random.normal(size=(n, 12, 3))
            made = np.einsum("nrw,rch->nchw", second, first) / (12 * c * 3) ** 0.5 / 3
            made += random.normal(0, 0.01, made.shape)
            tensor.CopyFrom(numpy_helper.from_array(made.astype(np.float32), tensor.name))
    return model


def dead(share: float) -> onnx.ModelProto:
    """Such a network, of which some channels of each hidden layer give nothing, whatever is fed."""
    model = wide()
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if len(values) == 16:
            if values.ndim == 4:  # of full rank otherwise, so that only channels are superfluous
                values = np.random.default_rng(3).normal(0, 0.2, values.shape).astype(np.float32)
            values[: int(16 * share)] = 0
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model
