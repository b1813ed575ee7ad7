"""What the body of a Loop or Scan reads and writes at each step, and how often it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

_COUNTER_AND_CONDITION = 2
"""What a Loop reads, and what its body reads, in front of the states."""


@dataclass(frozen=True)
class State:
    """A value that is handed from step to step.

    Attributes:
        given: what it is at first.
        read: what the body reads.
        written: what the body writes for the next step.
        result: what it is in the end.
    """

    given: gs.Tensor
    read: gs.Tensor
    written: gs.Tensor
    result: gs.Tensor


def carried_states(node: gs.Node) -> list[State]:
    """The states of a Loop or Scan, in order."""
    body = node.attrs["body"]
    if node.op == "Loop":
        return [
            State(*each)
            for each in zip(
                node.inputs[_COUNTER_AND_CONDITION:],
                body.inputs[_COUNTER_AND_CONDITION:],
                body.outputs[1:],
                node.outputs,
                strict=False,
            )
        ]
    count = len(node.inputs) - int(node.attrs["num_scan_inputs"])
    return [State(*each) for each in zip(node.inputs[:count], body.inputs, body.outputs, node.outputs, strict=False)]


def read_at_each_step(node: gs.Node, shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[gs.Tensor, tuple[int, ...]]]:
    """Shape of what the body reads besides states: counter and condition of a Loop, slices of what a Scan goes over."""
    body = node.attrs["body"]
    if node.op == "Loop":
        return [(tensor, ()) for tensor in body.inputs[:_COUNTER_AND_CONDITION]]
    found = []
    for tensor, inner, axis in _scanned(node):
        shape = shapes.get(tensor.name)
        if shape and inner.dtype is not None:
            found.append((inner, tuple(size for place, size in enumerate(shape) if place != axis % len(shape))))
    return found


def steps(
    node: gs.Node, shapes: Mapping[str, tuple[int, ...]], values: Mapping[str, np.ndarray[Any, Any]]
) -> int | None:
    """How often the body runs; None where that depends on data. A Loop with a condition may end earlier.

    Args:
        node: a Loop or Scan.
        shapes: by tensor, as far as they are known.
        values: likewise.
    """
    if node.op == "Loop":
        trips = values.get(node.inputs[0].name)
        return None if trips is None or trips.size != 1 else max(0, int(trips.item()))
    lengths = [shapes[tensor.name][axis] for tensor, _, axis in _scanned(node) if shapes.get(tensor.name)]
    return lengths[0] if lengths else None


def stacked(
    node: gs.Node, shapes: Mapping[str, tuple[int, ...]], types: Mapping[str, Any]
) -> Iterator[tuple[gs.Tensor, tuple[int, ...], Any]]:
    """Results that a Scan stacks from what its body writes at each step, with shape and type, where they are known."""
    length = steps(node, shapes, {}) if node.op == "Scan" else None
    if length is None:
        return
    body, count = node.attrs["body"], len(carried_states(node))
    axes = node.attrs.get("scan_output_axes", [0] * (len(node.outputs) - count))
    for result, inner, axis in zip(node.outputs[count:], body.outputs[count:], axes, strict=False):
        shape = shapes.get(inner.name)
        if shape is not None and inner.name in types:
            place = axis % (len(shape) + 1)
            yield result, (*shape[:place], length, *shape[place:]), types[inner.name]


def _scanned(node: gs.Node) -> list[tuple[gs.Tensor, gs.Tensor, int]]:
    count = int(node.attrs["num_scan_inputs"])
    axes = node.attrs.get("scan_input_axes", [0] * count)
    return list(zip(node.inputs[-count:], node.attrs["body"].inputs[-count:], axes, strict=False))
