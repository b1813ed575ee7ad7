"""SiLUs of a graph that can be replaced, and why others stay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.gates import is_gated
from yocc.compiler.graph.nops import captured_names
from yocc.compiler.graph.operators import WEIGHTED
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.graph.types import numpy_type
from yocc.rewrites.folding import LAYERS


@dataclass(frozen=True)
class Silu:
    """One x * sigmoid(x).

    Attributes:
        name: of the node that gives its result: Mul, or Swish.
        layer: name of the layer that gives x, under which reports show it; of the node itself where there is none.
        entry: name of the tensor x.
        values: elements of x in a run.
        axis: of the channels, where x comes from a layer and goes nowhere else, so that a factor and a shift of each
            channel are that layer's; None elsewhere.
    """

    name: str
    layer: str
    entry: str
    values: int
    axis: int | None


def find_silus(graph: Graph, shapes: Shapes) -> tuple[dict[str, Silu], dict[str, str]]:
    """SiLUs by the node that gives the result, in graph order, and why others stay, by layer."""
    kept = {tensor.name for tensor in graph.outputs} | captured_names(graph)
    found: dict[str, Silu] = {}
    reasons: dict[str, str] = {}
    for node in graph.nodes:
        gate = _gate(node)
        if node.domain not in (None, "", "ai.onnx") or (gate is None and node.op != "Swish"):
            continue
        entry = node.inputs[0] if gate is None else gate.inputs[0]
        layer = entry.inputs[0].name if entry.inputs and entry.inputs[0].op in WEIGHTED else node.name
        reason = _why_not(node, gate, kept, shapes)
        if reason:
            reasons[layer] = reason
            continue
        size = shapes.shapes[entry.name]
        readers = {id(reader) for reader in entry.outputs} - {id(node), id(gate)}
        alone = not readers and entry.name not in kept
        axis = _axis(entry, len(size)) if alone else None
        found[node.name] = Silu(node.name, layer, entry.name, math.prod(size), axis)
    return found, reasons


def _gate(product: gs.Node) -> gs.Node | None:
    """The Sigmoid that a product multiplies what it reads by."""
    makers = [maker for tensor in product.inputs for maker in tensor.inputs if maker.op == "Sigmoid"]
    return next((maker for maker in makers if is_gated(product, maker)), None)


def _why_not(node: gs.Node, gate: gs.Node | None, kept: set[str], shapes: Shapes) -> str:
    if gate is None and node.attrs.get("alpha", 1.0) != 1.0:
        return f"its factor alpha is {node.attrs['alpha']:g}, not 1"
    entry = node.inputs[0] if gate is None else gate.inputs[0]
    if gate is not None and (len(gate.outputs[0].outputs) > 1 or gate.outputs[0].name in kept):
        return f"something else reads the result of {gate.name!r} as well"
    if entry.dtype is None or numpy_type(entry.dtype) != np.float32:
        return f"it computes in {entry.dtype}, not float32"
    if entry.name not in shapes.shapes:
        return "the shape of what it reads is not known"
    return ""


def _axis(entry: gs.Tensor, rank: int) -> int | None:
    maker = entry.inputs[0] if entry.inputs else None
    if maker is None or maker.op not in LAYERS or maker.domain:
        return None
    if not all(isinstance(tensor, gs.Constant) for tensor in maker.inputs[1:] if tensor.name):
        return None
    return 1 if rank > 1 else None


def chosen(silus: Mapping[str, Silu], losses: Mapping[str, float], share: float) -> list[str]:
    """Those that lose least for each value, in graph order, with up to a share of the values of all together."""
    left = share * sum(each.values for each in silus.values()) * (1 + 1e-9)
    taken = set()
    for name in sorted(silus, key=lambda name: (losses[name] / silus[name].values, name)):
        if silus[name].values <= left:
            left -= silus[name].values
            taken.add(name)
    return [name for name in silus if name in taken]
