"""Normalizations with statistics of training, or of each channel of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.format import Data, Parameter
from yocc.runtime.backends.ncnn.lowering import Lowering, Refusal, Rule

Array = np.ndarray[Any, Any]


def _batch(lowering: Lowering, node: gs.Node) -> None:
    if node.attrs.get("training_mode", 0):
        raise Refusal("this BatchNormalization is in training mode", "Export the model for inference.")
    scale, shift, mean, variance = (_required(lowering, node, slot) for slot in range(1, 5))
    channels = lowering.dims(node.inputs[0])[0]
    parameters: dict[int, Parameter] = {0: channels, 1: float(node.attrs.get("epsilon", 1e-5))}
    data = [Data("floats", values.astype(np.float32)) for values in (scale, mean, variance, shift)]
    lowering.add("BatchNorm", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], parameters, data)


def _instance(lowering: Lowering, node: gs.Node) -> None:
    scale, shift = (_required(lowering, node, slot) for slot in (1, 2))
    channels = lowering.dims(node.inputs[0])[0]
    parameters: dict[int, Parameter] = {0: channels, 1: float(node.attrs.get("epsilon", 1e-5)), 2: 1}
    data = [Data("floats", values.astype(np.float32)) for values in (scale, shift)]
    lowering.add("InstanceNorm", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], parameters, data)


def _required(lowering: Lowering, node: gs.Node, slot: int) -> Array:
    values = lowering.parameter(node, slot)
    if values is None:
        raise Refusal(f"input {slot} of this {node.op} is missing", "Check the model with onnx.checker.")
    return values


RULES: Mapping[str, Rule] = MappingProxyType({"BatchNormalization": _batch, "InstanceNormalization": _instance})
