"""Arithmetic on a whole tensor instead of on its parts, for runtimes that fuse arithmetic and copy parts.

A YOLOv5 head divides the squashed values of its cells into centres, sizes and scores, scales each with constants, and
joins them: two copies of the largest tensor of the network. Each part is a polynomial of its values s of degree two at
most, so that the whole is c0 + s (c1 + s c2), with coefficients along the last axis and one pass over the tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh

Array = np.ndarray[Any, Any]

_SMALL = 8
"""Constants take at most one part in so many of the tensor they are added to or multiplied with."""


@dataclass(frozen=True)
class _Quadratic:
    """c0 + c1 s + c2 s s; each coefficient broadcasts to the shape of s."""

    c0: Array
    c1: Array
    c2: Array


def undivide(graph: Graph) -> int:
    """Rewrite Split, arithmetic and Concat along the last axis behind a Sigmoid, in place.

    Values change by rounding in float32. What is not of this form, has open sizes or would need large constants stays.

    Returns:
        The number of tensors that are no longer divided.
    """
    done = 0
    for concat in list(graph.nodes):
        if concat.op == "Concat" and _undivide(graph, concat):
            done += 1
    if done:
        refresh(graph)
    return done


def _undivide(graph: Graph, concat: gs.Node) -> bool:
    split = _split_of(concat)
    if split is None:
        return False
    given = frozenset(output.name for output in graph.outputs)
    whole, shape = split.inputs[0], concat.outputs[0].shape
    quadratics = [_quadratic(end, part, given) for end, part in zip(concat.inputs, split.outputs, strict=True)]
    parts = [
        tuple(np.broadcast_to(c, part.shape) for c in (found.c0, found.c1, found.c2))
        for found, part in zip(quadratics, split.outputs, strict=True)
        if found is not None
    ]
    if len(parts) < len(quadratics):
        return False
    c0, c1, c2 = (np.concatenate(one, axis=-1) for one in zip(*parts, strict=True))
    offsets = _summands(c0)
    factors = [_compact(c1), _compact(c2)]
    if offsets is None or any(_SMALL * constant.size > math.prod(shape) for constant in [*offsets, *factors]):
        return False
    _rewrite(graph, concat, whole, offsets, factors)
    return True


def _split_of(concat: gs.Node) -> gs.Node | None:
    """The Split of a Sigmoid's float32 values whose every part, in order, reaches a Concat along the last axis."""
    shape = concat.outputs[0].shape
    if shape is None or not all(isinstance(size, int) and size > 0 for size in shape):
        return None
    split = _source(concat.inputs[0])
    if split is None or split.op != "Split" or len(split.outputs) != len(concat.inputs):
        return None
    last = (-1, len(shape) - 1)
    if concat.attrs.get("axis") not in last or split.attrs.get("axis", 0) not in last:
        return None
    whole = split.inputs[0]
    if whole.dtype != np.float32 or list(whole.shape or ()) != list(shape) or not whole.inputs:
        return None
    # Bounded values only: an infinite one times a coefficient of zero would be none.
    return split if whole.inputs[0].op == "Sigmoid" else None


def _source(tensor: gs.Tensor) -> gs.Node | None:
    """The first operator behind a tensor that is no arithmetic with one constant."""
    while tensor.inputs and tensor.inputs[0].op in _RULES:
        changing = [source for source in tensor.inputs[0].inputs if not isinstance(source, gs.Constant)]
        if len(changing) != 1:
            return None
        tensor = changing[0]
    return tensor.inputs[0] if tensor.inputs else None


def _quadratic(tensor: gs.Tensor, part: gs.Tensor, given: frozenset[str]) -> _Quadratic | None:
    """What arithmetic makes of a part; None when of higher degree, or when a value on the way is read elsewhere."""
    if len(tensor.outputs) != 1 or tensor.name in given:
        return None
    if tensor is part:
        return _Quadratic(np.zeros(1), np.ones(1), np.zeros(1))
    if not tensor.inputs:
        return None
    node = tensor.inputs[0]
    rule = _RULES.get(node.op)
    if rule is None or len(node.inputs) != 2:
        return None
    place = 0 if isinstance(node.inputs[1], gs.Constant) else 1
    constant = node.inputs[1 - place]
    before = _quadratic(node.inputs[place], part, given) if isinstance(constant, gs.Constant) else None
    if before is None or (place == 1 and node.op not in ("Add", "Mul")):
        return None
    return rule(before, constant.values.astype(np.float64))


def _scaled(before: _Quadratic, factor: Array) -> _Quadratic:
    return _Quadratic(before.c0 * factor, before.c1 * factor, before.c2 * factor)


def _power(before: _Quadratic, exponent: Array) -> _Quadratic | None:
    if exponent.size != 1 or exponent.flat[0] != 2 or np.any(before.c2):
        return None
    return _Quadratic(before.c0**2, 2 * before.c0 * before.c1, before.c1**2)


_RULES: Mapping[str, Callable[[_Quadratic, Array], _Quadratic | None]] = MappingProxyType(
    {
        "Add": lambda before, offset: _Quadratic(before.c0 + offset, before.c1, before.c2),
        "Sub": lambda before, offset: _Quadratic(before.c0 - offset, before.c1, before.c2),
        "Mul": _scaled,
        "Div": lambda before, divisor: _scaled(before, 1 / divisor) if np.all(divisor) else None,
        "Pow": _power,
    }
)


def _compact(values: Array) -> Array:
    """Without repetition along the axes in front of the last."""
    for axis in range(values.ndim - 1):
        first = values.take([0], axis)
        if np.array_equal(np.broadcast_to(first, values.shape), values):
            values = first
    return values


def _summands(values: Array) -> list[Array] | None:
    """Tensors that vary along the last axis and one other each, whose sum is exactly this; None when there are none."""
    values = _compact(values)
    corner = values[(slice(0, 1),) * (values.ndim - 1)]
    found = []
    for axis in range(values.ndim - 1):
        if values.shape[axis] > 1:
            edge = tuple(
                slice(None) if place in (axis, values.ndim - 1) else slice(0, 1) for place in range(values.ndim)
            )
            found.append(values[edge] - corner)
    if not found:
        return [corner] if np.any(corner) else []
    found[0] = found[0] + corner
    return found if np.array_equal(np.broadcast_to(sum(found), values.shape), values) else None


def _rewrite(graph: Graph, concat: gs.Node, whole: gs.Tensor, offsets: list[Array], factors: list[Array]) -> None:
    result, name = concat.outputs[0], concat.name
    c1, c2 = factors
    steps: list[tuple[str, Array | None]] = [("Mul", c1)]
    if np.any(c2):
        steps = [("Mul", c2), ("Add", c1), ("Mul", None)]
    steps += [("Add", offset) for offset in offsets]
    concat.outputs.clear()
    values = whole
    for place, (op, constant) in enumerate(steps):
        other = whole if constant is None else gs.Constant(f"{name}_coefficient_{place}", constant.astype(np.float32))
        made = result if place == len(steps) - 1 else gs.Variable(f"{name}_undivided_{place}", np.float32)
        graph.nodes.append(gs.Node(op, f"{name}_{op}_{place}", {}, [values, other], [made]))
        values = made
