"""Which inputs and outputs of a node may change between fp32 and fp16, by onnx's own operator definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx.defs
import onnx_graphsurgeon as gs

HALF = np.dtype(np.float16)
SINGLE = np.dtype(np.float32)
_HALF_TYPE = "tensor(float16)"
TYPED_BY_ATTRIBUTE = frozenset(
    {"Bernoulli", "Cast", "CastLike", "Constant", "ConstantOfShape", "EyeLike", "Multinomial"}
    | {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators whose output type comes from an attribute or another tensor: they keep it."""
_KEPT_SLOTS = frozenset({("Resize", 1), ("Dropout", 1)})
"""Inputs that are parameters and not data: the region of interest, the dropped share."""


@dataclass(frozen=True)
class Slots:
    """Positions of the fp32 or fp16 tensors of a node that may be either."""

    inputs: frozenset[int]
    outputs: frozenset[int]


def is_float(tensor: gs.Tensor) -> bool:
    """Whether a tensor is fp32 or fp16; optional inputs left out and sequences are not."""
    if isinstance(tensor, gs.Variable) and tensor.type != "tensor_type":
        return False
    return bool(tensor.name) and not isinstance(tensor.dtype, int) and tensor.dtype in (HALF, SINGLE)


def is_opaque(node: gs.Node, opset: int) -> bool:
    """Whether nothing is known of a node's types, so that all its inputs and outputs must keep theirs."""
    if node.domain or node.op in TYPED_BY_ATTRIBUTE or any(True for _ in node.subgraphs()):
        return True
    if any(tensor.name and tensor.dtype is None for tensor in [*node.inputs, *node.outputs]):
        return True
    return not onnx.defs.has(node.op, opset, "")


def half_slots(node: gs.Node, opset: int) -> Slots | None:
    """The slots that may be fp16; None when one of the node's float outputs, or all of them, cannot be.

    Args:
        node: not opaque.
        opset: the graph's opset.
    """
    schema = onnx.defs.get_schema(node.op, opset, "")
    allowed = {
        constraint.type_param_str
        for constraint in schema.type_constraints
        if _HALF_TYPE in constraint.allowed_type_strs
    }
    inputs = _allowed(node.inputs, schema.inputs, allowed)
    outputs = _allowed(node.outputs, schema.outputs, allowed)
    floats = {slot for slot, tensor in enumerate(node.outputs) if is_float(tensor)}
    if outputs != floats or not (floats or node.op == "QuantizeLinear"):
        return None
    return Slots(frozenset(slot for slot in inputs if (node.op, slot) not in _KEPT_SLOTS), frozenset(outputs))


def _allowed(
    tensors: Sequence[gs.Tensor], formal: Sequence[onnx.defs.OpSchema.FormalParameter], allowed: set[str]
) -> set[int]:
    """Slots of float tensors whose formal parameter (the last one may repeat) admits fp16."""
    return {
        slot
        for slot, tensor in enumerate(tensors)
        if is_float(tensor) and formal[min(slot, len(formal) - 1)].type_str in allowed
    }
