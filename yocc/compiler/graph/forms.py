"""The form in which an opset wants an operator: what is an attribute in older ones is an input in newer ones.

ReduceSum and Squeeze take their axes as an input from opset 13 on, the other reductions from 18 on; Split, Pad, Clip,
Slice and TopK moved likewise. Everything that builds nodes names these values as attributes and lets onnx's own
operator schemas say where they go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.errors import InternalError

Array = np.ndarray[Any, Any]
_RENAMED: Mapping[tuple[str, str], str] = MappingProxyType({("Pad", "value"): "constant_value", ("TopK", "k"): "K"})
"""Attributes that have another name as an input."""
_LISTS = frozenset({("TopK", "k")})
"""Single numbers that are lists of one as an input."""


@dataclass(frozen=True)
class Form:
    """One operator at one opset.

    Attributes:
        attributes: those that are attributes there.
        inputs: those that are inputs there, by input slot: int64 for integers, float32 for other numbers.
    """

    attributes: Mapping[str, Any]
    inputs: Mapping[int, Array]


def operator_form(op: str, opset: int, attributes: Mapping[str, Any], *, outputs: int = 1) -> Form:
    """Sort the attributes of an operator of the standard domain into attributes and inputs.

    Args:
        op: the operator.
        opset: the graph's.
        attributes: by their names as attributes, whatever the opset makes of them.
        outputs: how many outputs the node has; Split must say so from opset 18 on unless it states sizes.

    Raises:
        InternalError: the opset has no such operator, or the operator no such attribute or input.
    """
    try:
        schema = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError as error:
        raise InternalError(f"Opset {opset} has no operator {op}.") from error
    slots = {formal.name: slot for slot, formal in enumerate(schema.inputs)}
    kept: dict[str, Any] = {}
    moved: dict[int, Array] = {}
    for name, value in attributes.items():
        slot = slots.get(_RENAMED.get((op, name), name))
        if name in schema.attributes:
            kept[name] = value
        elif slot is not None:
            moved[slot] = _array([value] if (op, name) in _LISTS else value)
        else:
            raise InternalError(f"{op} of opset {opset} takes no {name!r}.")
    if op == "Split" and "num_outputs" in schema.attributes and "split" not in attributes:
        kept.setdefault("num_outputs", outputs)
    return Form(kept, moved)


def new_node(
    op: str,
    name: str,
    inputs: Sequence[gs.Tensor],
    outputs: Sequence[gs.Tensor],
    opset: int,
    attributes: Mapping[str, Any],
) -> gs.Node:
    """A node in the form of an opset; values that are inputs there become constants named after the node.

    Args:
        op: an operator of the standard domain.
        name: the node's.
        inputs: tensors it reads, in order.
        outputs: tensors it makes.
        opset: the graph's.
        attributes: as in `operator_form`.

    Raises:
        InternalError: as `operator_form`.
    """
    form = operator_form(op, opset, attributes, outputs=len(outputs))
    read = list(inputs)
    for slot, values in sorted(form.inputs.items()):
        read += [gs.Variable.empty() for _ in range(slot + 1 - len(read))]
        read[slot] = gs.Constant(f"{name}_input_{slot}", values)
    return gs.Node(op, name, dict(form.attributes), read, list(outputs))


def _array(value: Any) -> Array:
    array = np.asarray(value)
    return array.astype(np.float32 if array.dtype.kind == "f" and array.size else np.int64)
