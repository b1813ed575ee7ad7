"""Weights that do not fit the channels they meet, which onnx's checker does not look at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_graphsurgeon as gs

Shape = Sequence[int | str | None] | None
_PER_CHANNEL_OPS = frozenset({"BatchNormalization", "InstanceNormalization"})


def misfits(graph: gs.Graph) -> list[str]:
    """What does not fit, one line each, where the shapes are known."""
    return [line for node in graph.nodes if not node.domain for line in _misfits(node)]


def _misfits(node: gs.Node) -> list[str]:
    shapes = [tensor.shape for tensor in node.inputs]
    if node.op in ("Conv", "ConvTranspose") and len(shapes) > 1 and shapes[1] and len(shapes[1]) >= 2:
        group, first = node.attrs.get("group", 1), shapes[1][0]
        if group < 1 or (isinstance(first, int) and first % group):
            return [f"{node.op} {node.name!r}: {first} channels of {node.inputs[1].name!r} make no {group} groups"]
    if node.op == "Reshape" and _counts_differ(shapes[0], node.outputs[0].shape):
        return [f"Reshape {node.name!r} makes {node.outputs[0].shape} of {shapes[0]}"]
    if len(shapes) < 2 or not shapes[0] or len(shapes[0]) < 2 or not isinstance(shapes[0][1], int):
        return []
    channels = shapes[0][1]
    wanted: dict[int, tuple[int, int]] = {}  # input: its first dimension and what that must be
    if node.op in _PER_CHANNEL_OPS:
        wanted = {index: (shape[0], channels) for index, shape in enumerate(shapes) if index and shape}
    elif node.op in ("Conv", "ConvTranspose") and shapes[1] and len(shapes[1]) >= 2:
        group = int(node.attrs.get("group", 1))
        first, second = shapes[1][0], shapes[1][1]
        if not (isinstance(first, int) and isinstance(second, int)):
            return []
        made, taken = (first, second * group) if node.op == "Conv" else (second * group, first)
        wanted = {1: (taken, channels)}
        if len(shapes) > 2 and shapes[2]:
            wanted[2] = (shapes[2][0], made)
    return [
        f"{node.op} {node.name!r}: {node.inputs[index].name!r} is made for {has} channels and meets {needs}"
        for index, (has, needs) in wanted.items()
        if has != needs and isinstance(has, int)
    ]


def _counts_differ(before: Shape, after: Shape) -> bool:
    if before is None or after is None or not all(isinstance(size, int) and size >= 0 for size in (*before, *after)):
        return False
    return math.prod(before) != math.prod(after)
