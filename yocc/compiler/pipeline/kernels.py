"""Which part of a graph a runtime's kernel belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

import onnx_graphsurgeon as gs

FUSED = frozenset({"BatchNormalization", "Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh"})
"""Operators that runtimes compute together with the layer before, in a kernel that is named after the last."""


def owner_of(kernel: str, names: Iterable[str]) -> str | None:
    """The longest of the names that a kernel is named after, with or without an ending of the runtime's own.

    Args:
        kernel: its name.
        names: of nodes and tensors.
    """
    found = [name for name in names if name and (kernel == name or kernel.startswith((f"{name}_", f"{name}/")))]
    return max(found, key=len) if found else None


def fused_behind(layer: gs.Node, operators: Set[str] = FUSED) -> Iterator[gs.Node]:
    """What a runtime may compute in one kernel with a layer: its only reader, that one's only reader, and so on.

    Args:
        layer: the node in front, not yielded.
        operators: those that a runtime computes together with it.
    """
    node = layer
    while node.outputs and len(node.outputs[0].outputs) == 1:
        node = node.outputs[0].outputs[0]
        if node.op not in operators:
            return
        yield node
