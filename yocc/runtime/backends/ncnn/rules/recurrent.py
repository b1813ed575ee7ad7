"""LSTM, GRU and RNN over one sequence: ncnn's layers take its steps as rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.format import Parameter
from yocc.runtime.backends.ncnn.lowering import ONE_AT_A_TIME, Lowering, Refusal, Rule
from yocc.runtime.backends.ncnn.weights import weight_data

Array = np.ndarray[Any, Any]
_DIRECTIONS = {"forward": 0, "reverse": 1, "bidirectional": 2}
_ELSEWHERE = "Use --target onnxruntime or openvino."


@dataclass(frozen=True)
class _Kind:
    """How an operator's gates and states lie.

    Attributes:
        gates: for each gate of ncnn's, which of ONNX's it is.
        activations: the only ones the layer has, for one direction.
        states: names of the states that go from step to step.
    """

    gates: tuple[int, ...]
    activations: tuple[str, ...]
    states: tuple[str, ...]


_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        # Input, output, forget, cell in ONNX; input, forget, output, cell in ncnn.
        "LSTM": _Kind((0, 2, 1, 3), ("Sigmoid", "Tanh", "Tanh"), ("initial_h", "initial_c")),
        # Update, reset, hidden in ONNX; reset, update, hidden in ncnn.
        "GRU": _Kind((1, 0, 2), ("Sigmoid", "Tanh"), ("initial_h",)),
        "RNN": _Kind((0,), ("Tanh",), ("initial_h",)),
    }
)


def _recurrent(lowering: Lowering, node: gs.Node) -> None:
    kind = _KINDS[node.op]
    steps, batch, width = lowering.shape(node.inputs[0])
    _check(lowering, node, kind, batch)
    weight, recurrent, bias = (lowering.parameter(node, slot) for slot in (1, 2, 3))
    if weight is None or recurrent is None:
        raise Refusal(f"a weight of this {node.op} is missing", "Check the model with onnx.checker.")
    directions, hidden = int(weight.shape[0]), int(recurrent.shape[-1])
    data = [
        _ordered(weight, kind.gates),
        _biases(node.op, kind.gates, bias, (directions, hidden)),
        _ordered(recurrent, kind.gates),
    ]
    direction = _DIRECTIONS[node.attrs.get("direction", "forward")]
    parameters: dict[int, Parameter] = {0: hidden, 1: int(weight.size), 2: direction}
    blobs = [lowering.shaped(node, node.inputs[0], (steps, width))]
    blobs += _states(lowering, node, kind, (directions, hidden))
    outputs = [tensor if tensor.name else None for tensor in (*node.outputs, gs.Variable.empty(), gs.Variable.empty())]
    wanted = outputs[: 1 + len(kind.states)]
    sizes = [(steps, directions * hidden), *[(directions, hidden)] * len(kind.states)]
    if len(blobs) == 1 and all(tensor is None for tensor in wanted[1:]):
        wanted, sizes = wanted[:1], sizes[:1]
    names = [
        lowering.fresh(node.name) if tensor is None else lowering.result(tensor, size)
        for tensor, size in zip(wanted, sizes, strict=True)
    ]
    if directions == 2 and wanted[0] is not None:
        # Side by side in ncnn, [steps, directions, batch, hidden] in ONNX: the same order of values.
        names[0] = lowering.result(wanted[0], (steps, 2 * hidden))
    dtype = node.inputs[1].values.dtype if isinstance(node.inputs[1], gs.Constant) else np.dtype(np.float32)
    stored = [weight_data(values, np.float32 if place == 1 else dtype) for place, values in enumerate(data)]
    lowering.add(node.op, node.name, blobs, names, parameters, stored)
    for place, (name, tensor) in enumerate(zip(names, wanted, strict=True)):
        if tensor is not None:
            lowering.settle(f"{node.name}_axes_behind{place}", name, tensor)


def _check(lowering: Lowering, node: gs.Node, kind: _Kind, batch: int) -> None:
    """Refuse what ncnn's layer cannot do."""
    if node.attrs.get("layout", 0):
        raise Refusal(f"this {node.op} has the batch first", "Export it with layout=0.")
    if batch != 1:
        hint = ONE_AT_A_TIME if lowering.batched else _ELSEWHERE
        raise Refusal(f"this {node.op} reads {batch} sequences at once, and ncnn's reads one", hint)
    directions = 2 if node.attrs.get("direction", "forward") == "bidirectional" else 1
    given = tuple(node.attrs.get("activations", kind.activations * directions))
    if given != kind.activations * directions or node.attrs.get("clip") or node.attrs.get("input_forget", 0):
        raise Refusal(f"ncnn's {node.op} has the usual activations only, and no clip", _ELSEWHERE)
    if len(node.inputs) > 4 and node.inputs[4].name:
        raise Refusal(f"this {node.op} is told how long its sequences are, and ncnn's is not", _ELSEWHERE)
    peepholes = lowering.parameter(node, 7)
    if peepholes is not None and np.any(peepholes):
        raise Refusal("ncnn's LSTM has no peepholes", _ELSEWHERE)
    if node.op == "GRU" and not node.attrs.get("linear_before_reset", 0):
        raise Refusal(
            "this GRU resets before it multiplies, and ncnn's resets afterwards",
            "Export it with linear_before_reset=1, as PyTorch computes, or use --target onnxruntime or openvino.",
        )


def _ordered(weight: Array, gates: tuple[int, ...]) -> Array:
    """Rows of all gates in ncnn's order, shape [directions, gates * hidden, inputs]."""
    directions, rows, inputs = weight.shape
    blocks = weight.reshape(directions, len(gates), rows // len(gates), inputs)
    return np.ascontiguousarray(blocks[:, list(gates)])


def _biases(op: str, gates: tuple[int, ...], bias: Array | None, sizes: tuple[int, int]) -> Array:
    """Biases of inputs and states, added up where the layer adds them anyway."""
    directions, hidden = sizes
    if bias is None:
        bias = np.zeros((directions, 2 * len(gates) * hidden), np.float32)
    own, recurrent = np.moveaxis(bias.reshape(directions, 2, len(gates), hidden), 1, 0)
    total = (own + recurrent)[:, list(gates)]
    if op != "GRU":
        return np.ascontiguousarray(total)
    # The state's bias of the hidden gate is multiplied by the reset.
    return np.ascontiguousarray(np.stack([total[:, 0], total[:, 1], own[:, 2], recurrent[:, 2]], axis=1))


def _states(lowering: Lowering, node: gs.Node, kind: _Kind, sizes: tuple[int, int]) -> list[str]:
    """Blobs of the first states, none where all are zero."""
    tensors = [node.inputs[slot] if len(node.inputs) > slot and node.inputs[slot].name else None for slot in (5, 6)]
    given = tensors[: len(kind.states)]
    values = [None if tensor is None else lowering.value(tensor) for tensor in given]
    if all(
        tensor is None or (value is not None and not value.any()) for tensor, value in zip(given, values, strict=True)
    ):
        return []
    return [
        lowering.constant(f"{node.name}_{name}", np.zeros(sizes, np.float32))
        if tensor is None
        else lowering.shaped(node, tensor, sizes)
        for tensor, name in zip(given, kind.states, strict=True)
    ]


RULES: Mapping[str, Rule] = MappingProxyType(dict.fromkeys(_KINDS, _recurrent))
