"""Constants added to what a layer without a bias of its own computes: its bias, before it is folded."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import onnx_graphsurgeon as gs

_BETWEEN = frozenset({"Cast", "DequantizeLinear", "Div", "Identity", "Mul", "QuantizeLinear"})
"""Operators by constants that may stand between a layer and its bias."""
_ADDING = frozenset({"Add", "Sub"})


@dataclass(frozen=True)
class AddedBias:
    """Where the bias of a layer is.

    Attributes:
        node: what adds it.
        slot: its input slot.
    """

    node: gs.Node
    slot: int


def added_bias(
    layer: gs.Node, shape: tuple[int, ...] | None, ends: Collection[str], is_known: Callable[[gs.Tensor], bool]
) -> AddedBias | None:
    """The constant that is added to a layer's output which nothing else reads; None where there is none.

    A single number added to everything is no bias, unless the layer has one channel.

    Args:
        layer: makes the output.
        shape: of the output; None when unknown.
        ends: names of tensors that somebody outside the graph reads.
        is_known: whether a tensor depends on no input of the graph.
    """
    if shape is None:
        return None
    tensor = layer.outputs[0]
    while tensor.name not in ends and len(tensor.outputs) == 1:
        reader = tensor.outputs[0]
        others = [slot for slot, operand in enumerate(reader.inputs) if operand is not tensor]
        if reader.domain or not all(is_known(reader.inputs[slot]) for slot in others):
            return None
        if reader.op in _ADDING and len(others) == 1:
            return AddedBias(reader, others[0]) if _varies(reader.inputs[others[0]], shape) else None
        if reader.op not in _BETWEEN:
            return None
        tensor = reader.outputs[0]
    return None


def _varies(bias: gs.Tensor, shape: tuple[int, ...]) -> bool:
    sizes = bias.shape
    if sizes is None or not all(isinstance(size, int) for size in sizes) or len(sizes) > len(shape):
        return False
    number = math.prod(sizes)
    return number <= math.prod(shape) and (number > 1 or 1 in (shape[-1], *shape[1:2]))
