"""Convolutions that onnxruntime has fused with what follows, as the operators of ONNX that they are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph

_DOMAIN = "com.microsoft"
_OWN = ("activation", "activation_params")
_ACTIVATIONS: Mapping[str, Callable[[list[float]], dict[str, float]]] = MappingProxyType(
    {
        "Relu": lambda _: {},
        "Sigmoid": lambda _: {},
        "Tanh": lambda _: {},
        "LeakyRelu": lambda values: {"alpha": values[0]},
        "HardSigmoid": lambda values: {"alpha": values[0], "beta": values[1]},
        "Clip": lambda _: {},
    }
)
"""The attributes of an activation, by the parameters of the fused operator."""


def split_fused_convolutions(graph: Graph) -> int:
    """Replace `com.microsoft::FusedConv` by Conv, Add and the activation, which every target knows.

    Those with an activation of another name are left alone.

    Returns:
        How many were replaced.
    """
    replaced = 0
    nodes: list[gs.Node] = []
    taken = {*graph.tensors(), *(node.name for node in graph.nodes)}
    for node in graph.nodes:
        activation = node.attrs.get("activation", "")
        if node.op != "FusedConv" or node.domain != _DOMAIN or (activation and activation not in _ACTIVATIONS):
            nodes.append(node)
            continue
        nodes += _parts(node, activation, taken)
        replaced += 1
    graph.nodes = nodes
    return replaced


def _parts(node: gs.Node, activation: str, taken: set[str]) -> list[gs.Node]:
    inputs, result = list(node.inputs), node.outputs[0]
    values = [float(value) for value in node.attrs.get("activation_params", [])]
    attributes = {name: value for name, value in node.attrs.items() if name not in _OWN}
    added = inputs[3] if len(inputs) > 3 and inputs[3].name else None
    bias = [tensor for tensor in inputs[2:3] if tensor.name]
    node.inputs.clear()
    node.outputs.clear()
    steps: list[tuple[str, dict[str, float], list[gs.Tensor]]] = [] if added is None else [("Add", {}, [added])]
    if activation:
        # The bounds of Clip are inputs.
        bounds = values if activation == "Clip" else []
        more: list[gs.Tensor] = [
            gs.Constant(_free(f"{node.name}_bound", taken), np.array(bound, np.float32)) for bound in bounds
        ]
        steps.append((activation, _ACTIVATIONS[activation](values), more))
    tensor = _variable(node, result, taken, last=not steps)
    parts = [gs.Node("Conv", node.name, attributes, [*inputs[:2], *bias], [tensor])]
    for index, (op, own, more) in enumerate(steps):
        following = _variable(node, result, taken, last=index == len(steps) - 1)
        parts.append(gs.Node(op, _free(f"{node.name}_{op}", taken), own, [tensor, *more], [following]))
        tensor = following
    return parts


def _variable(node: gs.Node, result: gs.Variable, taken: set[str], *, last: bool) -> gs.Variable:
    return result if last else gs.Variable(_free(f"{node.name}_part", taken), dtype=result.dtype)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
