"""Leaving out one level of a detector: the candidates of one stride, and all that only they need."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.order import reads
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.outputs import DetectorOutputs, RawHeads
from yocc.errors import OptionError

_PASSING_ON = ("Cast", "Identity")


def require_level(outputs: DetectorOutputs | None, stride: int) -> RawHeads:
    """The raw heads of a detector that has a level of a stride and others.

    Raises:
        OptionError: it has not, or its levels are not known.
    """
    if outputs is None:
        raise OptionError(
            "A level can be left out of a detector of a known family only.",
            "Leave level out; `yocc families` lists them.",
        )
    if outputs.heads is None:
        raise OptionError(f"The detector's levels are not known, because {outputs.obstacle}.", "Leave level out.")
    strides = [head.stride for head in outputs.heads.heads]
    if stride not in strides or len(strides) < 2:
        raise OptionError(
            f"The detector has no level of stride {stride} that could be left out.",
            f"Use one of {', '.join(map(str, strides))}.",
        )
    return outputs.heads


def leave_out_level(graph: Graph, shapes: Shapes, heads: RawHeads, stride: int) -> frozenset[str]:
    """Take the candidates of a stride out of the outputs; the nodes that only they need are left without readers.

    Args:
        graph: changed in place, once it is known that it can be.
        shapes: its concrete shapes.
        heads: its raw heads.
        stride: of the level; one of several.

    Returns:
        Names of the nodes that read another tensor than they did.

    Raises:
        OptionError: the level is gone already, is the last one, or is decoded together with others.
    """
    levels, own = _levels(graph, heads), frozenset({stride})
    touched = [tensor for tensor in graph.outputs if stride in levels.get(tensor.name, ())]
    mixed = [tensor for tensor in touched if levels[tensor.name] != own]
    joints = {tensor.name: _joint(tensor, levels, stride) for tensor in mixed}
    if not touched or (len(touched) == len(graph.outputs) and not mixed):
        raise OptionError(
            f"The level of stride {stride} is no longer there, or the only one left.", "Leave out each level once."
        )
    for tensor in mixed:
        node = joints[tensor.name]
        gone = [part for part in node.inputs if levels.get(part.name) == own]
        _shorten(tensor, node, sum(shapes.shapes[part.name][node.attrs["axis"]] for part in gone))
        node.inputs = [part for part in node.inputs if all(part is not other for other in gone)]
    graph.outputs = [tensor for tensor in graph.outputs if levels.get(tensor.name) != own]
    return frozenset(node.name for node in joints.values())


def _levels(graph: Graph, heads: RawHeads) -> Mapping[str, frozenset[int]]:
    """The strides of the heads that each tensor behind them is computed from."""
    found = {name: frozenset({head.stride}) for head in heads.heads for name in head.names}
    for node in graph.nodes:
        behind = frozenset[int]().union(*(found.get(name, frozenset()) for name in reads(node)))
        for tensor in node.outputs:
            found.setdefault(tensor.name, behind)
    return found


def _joint(output: gs.Variable, levels: Mapping[str, frozenset[int]], stride: int) -> gs.Node:
    """The Concat that joins the candidates of a level to those of others."""
    node = output.inputs[0]
    while node.op in _PASSING_ON:
        node = node.inputs[0].inputs[0]
    parts = [levels.get(tensor.name, frozenset()) for tensor in node.inputs]
    if node.op != "Concat" or any(stride in part and part != {stride} for part in parts):
        raise OptionError(
            f"The detector decodes its levels together, so that {stride} cannot be left out.", "Leave level out."
        )
    return node


def _shorten(output: gs.Variable, node: gs.Node, rows: int) -> None:
    """State the size that an output has without some of its rows, if it states any."""
    axis = node.attrs["axis"]
    if output.shape is not None and isinstance(output.shape[axis], int):
        output.shape = [
            size - rows if place == axis % len(output.shape) else size for place, size in enumerate(output.shape)
        ]
