"""How much of the arithmetic is in which type, read from the finished graph and not from what was intended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import layer_costs
from yocc.compiler.graph.operators import WEIGHTED
from yocc.compiler.graph.shapes import Shapes

Kind = Literal["int8", "fp16", "fp32"]
KINDS: tuple[Kind, ...] = ("int8", "fp16", "fp32")
"""From the fewest bits to the most."""
_CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass(frozen=True)
class NotInt8:
    """A convolution that does not compute in int8.

    Attributes:
        kind: the type it computes in.
        macs_share: its share of the multiply-accumulates of all convolutions, 0..1.
        reason: why.
    """

    kind: Kind
    macs_share: float
    reason: str


@dataclass(frozen=True)
class Census:
    """Types of the convolutions of a graph.

    Attributes:
        macs_shares: share of their multiply-accumulates in each type, 0..1; all 0 without convolutions.
        layers: number of them in each type.
        not_int8: those that are not int8, by name.
    """

    macs_shares: Mapping[Kind, float]
    layers: Mapping[Kind, int]
    not_int8: Mapping[str, NotInt8]


def take_census(graph: Graph, shapes: Shapes, reasons: Mapping[str, str]) -> Census:
    """Count convolutions by type.

    Args:
        graph: as it is written.
        shapes: of its tensors.
        reasons: why a node stayed out of int8 or fp16, where a pass said so.
    """
    nodes = {node.name: node for node in graph.nodes}
    macs = {cost.node: cost.macs for cost in layer_costs(graph, shapes) if cost.op in _CONVOLUTIONS}
    total = sum(macs.values())
    sums, layers = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    not_int8 = {}
    for name, amount in macs.items():
        kind = kind_of(nodes[name])
        sums[kind] += amount
        layers[kind] += 1
        if kind != "int8":
            reason = reasons.get(name, "the model was not quantized")
            not_int8[name] = NotInt8(kind, amount / total if total else 0.0, reason)
    return Census({kind: sums[kind] / total if total else 0.0 for kind in KINDS}, layers, not_int8)


def kind_of(node: gs.Node) -> Kind:
    """The type a node computes in.

    A layer whose data and weights both come from DequantizeLinear counts as int8: that is how runtimes execute it.
    """
    if node.op in WEIGHTED and all(_is_dequantized(tensor) for tensor in node.inputs[:2]):
        return "int8"
    return "fp16" if node.outputs[0].dtype == np.float16 else "fp32"


def _is_dequantized(tensor: gs.Tensor) -> bool:
    return bool(tensor.inputs) and tensor.inputs[0].op == "DequantizeLinear"
