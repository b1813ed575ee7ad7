"""Where a layer's channels can be seen: at its output, and behind its activation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

from yocc.compiler.graph.gates import gated
from yocc.compiler.graph.operators import OPS, Flow
from yocc.passes.prune.criteria.criterion import Subject

_GATES = ("Sigmoid", "HardSigmoid")


@dataclass(frozen=True)
class Tap:
    """The output of a layer that makes channels which may go.

    Attributes:
        layer: its name.
        normalized: name of its output behind batch normalization, if any.
        active: name of its output behind its activation.
    """

    layer: str
    normalized: str
    active: str


def taps(subject: Subject) -> list[Tap]:
    """One for each layer of which channels may go, in the order of the graph."""
    makers = {cut.node for cut in subject.channels.cuts if cut.role == "out" and cut.atoms.any()}
    return [_tap(node) for node in subject.graph.nodes if node.name in makers]


def class_axes(subject: Subject, tensor: str) -> tuple[Any, tuple[int, ...]]:
    """Classes of a tensor's channels, and the axes along which they do not differ."""
    atoms = subject.channels.atoms[tensor]
    return atoms, tuple(axis for axis, size in enumerate(atoms.shape) if size == 1)


def _tap(node: gs.Node) -> Tap:
    *_, normalized = _behind(node.outputs[0], ("BatchNormalization",))
    active = normalized
    while (following := _activated(active)) is not None:
        active = following
    return Tap(node.name, normalized.name, active.name)


def _behind(tensor: gs.Tensor, operators: tuple[str, ...]) -> Iterator[gs.Tensor]:
    yield tensor
    while len(tensor.outputs) == 1 and tensor.outputs[0].op in operators:
        tensor = tensor.outputs[0].outputs[0]
        yield tensor


def _activated(tensor: gs.Tensor) -> gs.Tensor | None:
    """What an activation makes of a tensor; None where something else reads it."""
    readers = tensor.outputs
    if len(readers) == 1 and readers[0].op in OPS and OPS[readers[0].op].flow is Flow.UNARY:
        return readers[0].outputs[0]
    product = gated(tensor, _GATES)
    # The gate's own output goes into the product alone, or what is read there is no channel of the layer.
    if product is not None and all(len(reader.outputs[0].outputs) == 1 for reader in readers if reader is not product):
        return product.outputs[0]
    return None
