"""Normalizations with statistics of training, or of each channel of the picture."""

from __future__ import annotations

import math
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
    channels = lowering.sample(node.inputs[0])[0]
    parameters: dict[int, Parameter] = {0: channels, 1: float(node.attrs.get("epsilon", 1e-5))}
    data = [Data("floats", values.astype(np.float32)) for values in (scale, mean, variance, shift)]
    lowering.add("BatchNorm", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], parameters, data)


def _instance(lowering: Lowering, node: gs.Node) -> None:
    scale, shift = (_required(lowering, node, slot) for slot in (1, 2))
    source = lowering.sample(node.inputs[0])
    # The layer takes channels of maps.
    sizes = source if len(source) == 3 else (source[0], math.prod(source[1:]), 1)
    parameters: dict[int, Parameter] = {0: source[0], 1: float(node.attrs.get("epsilon", 1e-5)), 2: 1}
    _normalize(lowering, node, "InstanceNorm", (sizes, parameters), [scale, shift])


def _group(lowering: Lowering, node: gs.Node) -> None:
    scale, shift = (_required(lowering, node, slot) for slot in (1, 2))
    source, groups = lowering.sample(node.inputs[0]), int(node.attrs["num_groups"])
    # Until opset 21 there is one scale for each group.
    scale, shift = (np.repeat(values, source[0] // values.size) for values in (scale, shift))
    parameters: dict[int, Parameter] = {0: groups, 1: source[0], 2: float(node.attrs.get("epsilon", 1e-5)), 3: 1}
    sizes = source if len(source) == 3 else (source[0], math.prod(source[1:]), 1)
    _normalize(lowering, node, "GroupNorm", (sizes, parameters), [scale, shift])


def _layer(lowering: Lowering, node: gs.Node) -> None:
    if any(tensor.name for tensor in node.outputs[1:]):
        raise Refusal("ncnn's LayerNorm does not give mean and deviation")
    shape = lowering.shape(node.inputs[0])
    lowering.sizes(node.inputs[0])
    size = math.prod(shape[int(node.attrs.get("axis", -1)) % len(shape) :])
    scale = _required(lowering, node, 1)
    shift = lowering.parameter(node, 2)
    data = [scale, np.zeros_like(scale) if shift is None else shift]
    if any(values.size != size for values in data):
        raise Refusal("ncnn's LayerNorm has one scale for each value it normalizes")
    parameters: dict[int, Parameter] = {0: size, 1: float(node.attrs.get("epsilon", 1e-5)), 2: 1}
    _normalize(lowering, node, "LayerNorm", ((math.prod(shape) // size, size), parameters), data)


def _normalize(
    lowering: Lowering,
    node: gs.Node,
    kind: str,
    facts: tuple[tuple[int, ...], dict[int, Parameter]],
    data: list[Array],
) -> None:
    """A layer on a blob of some sizes, with a Reshape before and behind where the tensors' have others."""
    sizes, parameters = facts
    blob = lowering.shaped(node, node.inputs[0], sizes)
    written = lowering.result(node.outputs[0], sizes)
    floats = [Data("floats", values.astype(np.float32).reshape(-1)) for values in data]
    lowering.add(kind, node.name, [blob], [written], parameters, floats)
    lowering.settle(f"{node.name}_axes_behind", written, node.outputs[0])


def _required(lowering: Lowering, node: gs.Node, slot: int) -> Array:
    values = lowering.parameter(node, slot)
    if values is None:
        raise Refusal(f"input {slot} of this {node.op} is missing", "Check the model with onnx.checker.")
    return values


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "BatchNormalization": _batch,
        "InstanceNormalization": _instance,
        "GroupNormalization": _group,
        "LayerNormalization": _layer,
    }
)
