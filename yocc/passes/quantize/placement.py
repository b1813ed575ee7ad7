"""Which tensors are quantized, which of them share a scale, and what stays float: structure only, no numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.anchor_maps import anchor_maps
from yocc.analysis.heads import decode_nodes, final_layers
from yocc.compiler.graph import Graph
from yocc.compiler.graph.operators import OPS, WEIGHTED, Flow
from yocc.compiler.graph.types import numpy_type
from yocc.compiler.pipeline.target import Target
from yocc.passes.quantize.exceptions import NOTHING, Exceptions


@dataclass(frozen=True)
class Placement:
    """Which tensors are quantized.

    Attributes:
        groups: names of activation tensors, those of one group sharing a scale, in graph order.
        layers: names of the weighted nodes whose weights are quantized.
        skipped: reason for each weighted or codable node that stays float, by node name.
        exceptions: what was to be treated apart.
    """

    groups: tuple[tuple[str, ...], ...]
    layers: tuple[str, ...]
    skipped: Mapping[str, str]
    exceptions: Exceptions


CHOSEN = "chosen to stay float"
MASKED = "it reads a mask: numbers so large that 8 bits keep nothing of the others"

FOR_FLOAT = "only operators in float read what it gives"
_ARITHMETIC = frozenset({"Add", "Mul"})


def place(graph: Graph, target: Target, kept: Collection[str] = (), exceptions: Exceptions = NOTHING) -> Placement:
    """Decide from the structure of the graph and what the target supports.

    Args:
        graph: the float graph.
        target: what the backend wants.
        kept: names of layers that are to stay float although they could be quantized; what only they read or make stays
            float with them.
        exceptions: what is treated apart.
    """
    last = {node.name for node in final_layers(graph)} - exceptions.large_last
    skipped = _stays_float(graph, target, exceptions, last)
    skipped.update(dict.fromkeys(_read_in_float(graph, target, skipped), FOR_FLOAT))
    skipped.update({node.name: CHOSEN for node in graph.nodes if node.name in kept and node.name not in skipped})
    layers = tuple(node.name for node in graph.nodes if node.op in WEIGHTED and node.name not in skipped)
    quantized: dict[str, gs.Tensor] = {}
    for node in graph.nodes:
        if node.name in skipped or node.op not in target.int8_ops | target.shared_scale_ops:
            continue
        if target.placement == "inputs" and node.op not in WEIGHTED:
            continue
        outputs = [] if target.placement == "inputs" or node.name in last else node.outputs
        for tensor in [*_data(node), *outputs]:
            if isinstance(tensor, gs.Variable) and _is_float(tensor):
                quantized.setdefault(tensor.name, tensor)
    if target.added_inputs == "quantize":
        quantized.update({tensor.name: tensor for tensor in _added(graph, skipped)})
    for name in (*_before_clipping(graph, target, skipped), *exceptions.float_results(graph), *exceptions.masked):
        quantized.pop(name, None)
    if kept:
        quantized = _without(graph, quantized, kept, skipped, target)
    for tensor in graph.outputs:
        quantized.pop(tensor.name, None)
    return Placement(_share(graph, quantized, target, skipped), layers, skipped, exceptions)


def _read_in_float(graph: Graph, target: Target, skipped: Mapping[str, str]) -> set[str]:
    """Arithmetic whose results nothing quantized reads, as squares in front of a mean or a variance before its root."""
    found: set[str] = set()
    for node in reversed(graph.nodes if target.placement == "whole_graph" else []):
        readers = [reader.name for tensor in node.outputs for reader in tensor.outputs]
        is_given = any(tensor in graph.outputs for tensor in node.outputs)
        if node.op in _ARITHMETIC and readers and not is_given and found.union(skipped).issuperset(readers):
            found.add(node.name)
    return found - skipped.keys()


def _before_clipping(graph: Graph, target: Target, skipped: Mapping[str, str]) -> list[str]:
    """What layers and sums give to nothing but a Relu or Clip, on targets that quantize the whole graph.

    Runtimes compute both in one kernel that writes what is behind. Quantizing in between would spend levels on values
    that are cut off, and leave a second rounding in the graph.
    """
    if target.placement != "whole_graph":
        return []
    clipping = target.int8_ops & {"Relu", "Clip"}
    given = {tensor.name for tensor in graph.outputs}
    found = []
    for node in graph.nodes:
        bounds = all(isinstance(bound, gs.Constant) for bound in node.inputs[1:] if bound.name)
        if node.op not in clipping or node.name in skipped or not bounds:
            continue
        tensor = node.inputs[0]
        makers = [maker for maker in tensor.inputs if maker.op in WEIGHTED | {"Add"} and maker.name not in skipped]
        if makers and tensor.name not in given and len(tensor.outputs) == 1:
            found.append(tensor.name)
    return found


def _stays_float(graph: Graph, target: Target, exceptions: Exceptions, last: Set[str]) -> dict[str, str]:
    """Nodes that may not compute on integers, with the reason; the last layers are named apart."""
    left: dict[str, str] = {}
    codable = target.int8_ops | target.shared_scale_ops
    decode = decode_nodes(graph)
    float_last = _float_last(graph, target, last)
    for node in graph.nodes:
        if node.name in float_last:
            left[node.name] = "a last layer: its outputs are scores and coordinates of different magnitude"
        elif node.name in decode:
            left[node.name] = "decode arithmetic behind the last layers"
        elif node.op in WEIGHTED and any(tensor.name in exceptions.masked for tensor in node.inputs):
            left[node.name] = MASKED
        elif node.op in WEIGHTED and not _constant_weight(node):
            left[node.name] = "its weight is computed at run time"
        elif node.op in WEIGHTED and not _is_float(node.inputs[1]):
            left[node.name] = f"its weight is {node.inputs[1].dtype}, not float32"
        elif node.op not in codable and (node.op in WEIGHTED or _computes(node, target)):
            left[node.name] = f"the target has no int8 {node.op}"
        elif target.grouped == "float" and _is_grouped(node):
            left[node.name] = "the target has no int8 convolution of several groups"
        elif node.op in ("Conv", "ConvTranspose") and _is_thin(node, target.least_channels):
            left[node.name] = f"fewer than {target.least_channels} channels do not pay in int8"
        elif node.op == "Resize" and node.attrs.get("mode", "nearest") != "nearest":
            left[node.name] = "it interpolates, which makes new values"
    return left


def _float_last(graph: Graph, target: Target, last: Set[str]) -> Set[str]:
    """Those of the last layers that the target wants in float."""
    if target.last_layers == "products":
        return last - {maps.conv.name for maps in anchor_maps(graph) if maps.is_product}
    return last if target.last_layers == "float" else frozenset()


def _without(
    graph: Graph,
    quantized: Mapping[str, gs.Tensor],
    kept: Collection[str],
    skipped: Mapping[str, str],
    target: Target,
) -> dict[str, gs.Tensor]:
    """Quantized tensors except those that only float layers read, arithmetic between them and what moves values there.

    What a quantized layer writes stays quantized in any case: runtimes that compute on integers also write them.
    """
    floating = set(kept)
    for node in graph.nodes:
        if node.op in WEIGHTED or node.op not in target.int8_ops - target.shared_scale_ops:
            continue
        makers = [maker.name for tensor in _data(node) if _is_float(tensor) for maker in tensor.inputs]
        if makers and all(name in floating for name in makers):
            floating.add(node.name)
    for node in reversed(graph.nodes):
        behind = [reader.name for tensor in node.outputs for reader in tensor.outputs]
        if node.op in target.shared_scale_ops and behind and floating.issuperset(behind):
            floating.add(node.name)
    found = {}
    for name, tensor in quantized.items():
        maker = tensor.inputs[0] if tensor.inputs else None
        readers = {reader.name for reader in tensor.outputs}
        writer = maker
        if (
            maker is not None
            and maker.op == "Relu"
            and maker.inputs[0].name not in quantized
            and maker.inputs[0].inputs
        ):
            writer = maker.inputs[0].inputs[0]
        written = target.placement == "whole_graph" and writer is not None and writer.op in WEIGHTED
        if maker is not None and maker.name in floating:
            unread = readers <= floating | skipped.keys()
        else:
            unread = readers <= floating and not written
        if not unread:
            found[name] = tensor
    return found


def _share(
    graph: Graph, quantized: Mapping[str, gs.Tensor], target: Target, skipped: Mapping[str, str]
) -> tuple[tuple[str, ...], ...]:
    """Join tensors across operators that only move values, so that moving needs no requantization."""
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            name = root[name]
        return name

    for node in graph.nodes:
        if node.op not in target.shared_scale_ops or node.name in skipped:
            continue
        tensors = [tensor for tensor in [*_data(node), *node.outputs] if isinstance(tensor, gs.Variable)]
        through = target.scale_sharing == "connected"
        names = [tensor.name for tensor in tensors if tensor.name and (through or tensor.name in quantized)]
        for name in names[1:]:
            root[find(name)] = find(names[0])
    groups: dict[str, list[str]] = {}
    for name in quantized:
        groups.setdefault(find(name), []).append(name)
    return tuple(tuple(names) for names in groups.values())


def _added(graph: Graph, skipped: Mapping[str, str]) -> list[gs.Variable]:
    """What enters additions of two tensors, apart from the one that the layer before it adds up itself."""
    place_of = {node.name: place for place, node in enumerate(graph.nodes)}
    found = []
    for node in graph.nodes:
        operands = [tensor for tensor in node.inputs if isinstance(tensor, gs.Variable) and _is_float(tensor)]
        if node.op != "Add" or node.name in skipped or len(operands) != 2:
            continue
        fused = [tensor for tensor in operands if tensor.inputs and tensor.inputs[0].op in WEIGHTED]
        last = max(fused, key=lambda tensor: place_of[tensor.inputs[0].name], default=None)
        found += [tensor for tensor in operands if tensor is not last]
    return found


def _data(node: gs.Node) -> list[gs.Tensor]:
    """The inputs that carry values to compute on, and no biases, bounds, scales or sizes."""
    facts = OPS.get(node.op)
    if facts is not None and facts.flow in (Flow.ELEMENTWISE, Flow.CONCAT):
        return list(node.inputs)
    return list(node.inputs[:1])


def _is_thin(node: gs.Node, least: int) -> bool:
    """Whether a convolution has too few channels to fill the vectors of an int8 kernel."""
    if len(node.inputs[1].shape) < 2:  # no kernel, in an operator of that name from another domain
        return False
    outer, inner = (int(size) for size in node.inputs[1].shape[:2])
    inner *= int(node.attrs.get("group", 1))
    fewer, more = min(outer, inner), max(outer, inner)
    return fewer < least and not (fewer % 8 == 0 and more >= least)


def _is_grouped(node: gs.Node) -> bool:
    """Whether a convolution has several groups; one output channel for each input channel is depthwise instead."""
    groups = node.attrs.get("group", 1)
    return node.op in ("Conv", "ConvTranspose") and groups > 1 and tuple(node.inputs[1].shape[:2]) != (groups, 1)


def _constant_weight(node: gs.Node) -> bool:
    return len(node.inputs) > 1 and isinstance(node.inputs[1], gs.Constant)


def _computes(node: gs.Node, target: Target) -> bool:
    """Whether an operator must stay float in a target that quantizes the whole graph."""
    return target.placement == "whole_graph" and any(_is_float(tensor) for tensor in [*node.inputs, *node.outputs])


def _is_float(tensor: gs.Tensor) -> bool:
    return tensor.dtype is not None and numpy_type(tensor.dtype) == np.float32


def nothing_quantized(graph: Graph, placement: Placement) -> str:
    """The sentence that no layer is quantized, with the reason that most layers have."""
    layers = [node.name for node in graph.nodes if node.op in WEIGHTED and node.name in placement.skipped]
    if not layers:
        return "No layer of this model can compute in int8."
    (reason, _), *_ = Counter(placement.skipped[name] for name in layers).most_common(1)
    example = next(name for name in layers if placement.skipped[name] == reason)
    return f"No layer of this model can compute in int8: {reason}, {example!r} for one."
