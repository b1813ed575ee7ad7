"""Weights that are stored as codes and decoded by operators which read constants only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

Array = np.ndarray[Any, Any]


def decoded_weight(tensor: gs.Tensor) -> gs.Constant | None:
    """The weight that operators make of 8-bit constants, under the name of these; None when there is none."""
    found = _first_codes(tensor)
    if found is None:
        return None
    values = _value(tensor)
    return None if values is None else gs.Constant(found.name, values)


def constants_of(tensor: gs.Tensor) -> list[gs.Constant] | None:
    """A constant, or the constants that a DequantizeLinear along the output channels decodes; None for what varies."""
    if isinstance(tensor, gs.Constant):
        return [tensor]
    maker = tensor.inputs[0] if tensor.inputs else None
    if maker is None or maker.op != "DequantizeLinear" or maker.attrs.get("axis", 1) != 0:
        return None
    if "block_size" in maker.attrs or not all(isinstance(part, gs.Constant) for part in maker.inputs):
        return None
    return list(maker.inputs)


def _first_codes(tensor: gs.Tensor) -> gs.Constant | None:
    """The first constant of 8-bit codes behind decoding operators; what they index is a table that weights share."""
    if isinstance(tensor, gs.Constant):
        return tensor if tensor.dtype in (np.uint8, np.int8) else None
    if not tensor.inputs or tensor.inputs[0].op not in _COMPUTE:
        return None
    node = tensor.inputs[0]
    sources = reversed(node.inputs) if node.op == "Gather" else node.inputs
    found = (_first_codes(source) for source in sources)
    return next((codes for codes in found if codes is not None), None)


def _value(tensor: gs.Tensor) -> Array | None:
    if isinstance(tensor, gs.Constant):
        values: Array = tensor.values
        return values
    if not tensor.inputs or tensor.inputs[0].op not in _COMPUTE:
        return None
    node = tensor.inputs[0]
    sources = [_value(source) for source in node.inputs]
    if any(source is None for source in sources):
        return None
    return _COMPUTE[node.op](node, [source for source in sources if source is not None])


def _gather(node: gs.Node, values: list[Array]) -> Array:
    return np.take(values[0], values[1], axis=node.attrs.get("axis", 0))


_COMPUTE: Mapping[str, Callable[[gs.Node, list[Array]], Array]] = MappingProxyType(
    {
        "Cast": lambda _, values: values[0].astype(np.int32) if values[0].dtype == np.uint8 else values[0],
        "Gather": _gather,
        "Reshape": lambda _, values: values[0].reshape(values[1]),
        "Slice": lambda _, values: values[0][int(values[1][0]) : int(values[2][0])],
        "Add": lambda _, values: np.add(values[0], values[1]),
        "Mul": lambda _, values: np.multiply(values[0], values[1]),
    }
)
"""What the decoders of packed codes are made of."""
