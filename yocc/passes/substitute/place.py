"""Writing activations into a graph in place of SiLUs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.fitting.activations import Activation, Substitute

OPS: dict[Activation, str] = {"hardswish": "HardSwish", "gelu": "Gelu", "relu": "Clip"}
Array = np.ndarray[Any, Any]


def replace_silu(graph: Graph, node: gs.Node, numbers: Substitute, rank: int, axis: int | None) -> str:
    """Put c * f(a x + b) + d in the place of a SiLU, without additions of 0 and multiplications by 1.

    Of a Relu that is a x + (b + d), and d where it is less: a Clip, so that nothing is to be added behind it.

    Args:
        graph: changed in place.
        node: gives the SiLU's result; is left without outputs.
        numbers: a, b, c and d.
        rank: of its tensor.
        axis: of the channels, where there are numbers for each.

    Returns:
        Name of the node that gives the result.
    """
    gate = next((maker for tensor in node.inputs for maker in tensor.inputs if maker.op == "Sigmoid"), None)
    tensor = node.inputs[0] if node.op == "Swish" or gate is None else gate.inputs[0]
    steps: list[tuple[str, str, Array | None]] = [
        ("Mul", "a", numbers.a),
        ("Add", "b", numbers.b),
        (OPS[numbers.activation], "", None),
        ("Mul", "c", numbers.c),
        ("Add", "d", numbers.d),
    ]
    if numbers.activation == "relu":
        steps = [("Mul", "a", numbers.a), ("Add", "b", numbers.b + numbers.d), ("Clip", "", numbers.d)]
    steps = [step for step in steps if not (step[1] and np.all(step[2] == (step[0] == "Mul")))]
    taken = {other.name for other in graph.nodes} | graph.tensors().keys()
    last = node.outputs[0]
    for number, (op, letter, values) in enumerate(steps):
        name = _free(f"{node.name}_{OPS[numbers.activation]}{letter and '_' + letter}", taken)
        inputs = [tensor]
        if values is not None:
            inputs.append(gs.Constant(f"{name}_value", _shaped(values, rank, axis)))
        made = last if number == len(steps) - 1 else gs.Variable(f"{name}_output", last.dtype, last.shape)
        if made is last:
            node.outputs.clear()
        graph.nodes.append(gs.Node(op, name, inputs=inputs, outputs=[made]))
        tensor = made
    return name


def _shaped(values: Array, rank: int, axis: int | None) -> Array:
    shape = [1] * rank
    if values.size == 1 or axis is None:
        return np.array(values.reshape(-1)[0], np.float32)
    shape[axis] = values.size
    return np.ascontiguousarray(values.reshape(shape), dtype=np.float32)


def _free(name: str, taken: set[str]) -> str:
    while any(each in taken for each in (name, f"{name}_value", f"{name}_output")):
        name += "_"
    taken.add(name)
    return name
