"""Parts of a network that can be left out: what lies between two tensors of one shape and nowhere else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.layers import is_weighted
from yocc.compiler.graph.nops import captured_names
from yocc.compiler.graph.order import reads
from yocc.compiler.graph.shapes import Shapes


@dataclass(frozen=True)
class Block:
    """Nodes that read one tensor and constants, and of which all others read one tensor.

    Attributes:
        name: of the node that writes the exit.
        kind: `branch` where the exit is the sum of the entry and something else, `block` elsewhere.
        entry: name of the tensor that the nodes read.
        exit: name of the tensor that others read, of the entry's shape.
        nodes: names, in graph order.
        layers: those of them that have weights, in graph order.
    """

    name: str
    kind: Literal["branch", "block"]
    entry: str
    exit: str
    nodes: tuple[str, ...]
    layers: tuple[str, ...]


def find_blocks(
    graph: Graph, sizes: Sequence[Shapes], fixed: Collection[str] = ()
) -> tuple[dict[str, Block], dict[str, str]]:
    """The smallest blocks with layers, by name, and why nodes Add end none.

    Of blocks with the same layers, a branch counts, or else the one that ends last, behind its activation. Larger
    blocks are several small ones in a row.

    Args:
        graph: sorted; not changed.
        sizes: its concrete shapes at one or more sizes of its inputs; a block keeps the shape at all of them.
        fixed: names of tensors that must stay, besides the graph's outputs and what its subgraphs read.
    """
    flow = _Flow(graph, sizes, {*fixed, *(tensor.name for tensor in graph.outputs), *captured_names(graph)})
    found: dict[tuple[str, ...], Block] = {}
    reasons: dict[str, str] = {}
    for node in graph.nodes:
        block = flow.block_before(node)
        if isinstance(block, Block):
            known = found.get(block.layers)
            if known is None or known.kind == "block":
                found[block.layers] = block
        elif node.op == "Add" and block:
            reasons[node.name] = block
    return {block.name: block for block in found.values()}, reasons


class _Flow:
    """Who reads and writes what, by name."""

    def __init__(self, graph: Graph, sizes: Sequence[Shapes], fixed: set[str]) -> None:
        self._sizes, self._fixed = sizes, fixed
        self._nodes: Mapping[str, gs.Node] = {node.name: node for node in graph.nodes}
        self._place = {name: place for place, name in enumerate(self._nodes)}
        self._writer = {tensor.name: node.name for node in graph.nodes for tensor in node.outputs if tensor.name}
        self._variables = {tensor.name: tensor for tensor in graph.inputs}
        self._variables |= {tensor.name: tensor for node in graph.nodes for tensor in node.outputs if tensor.name}
        self._readers: dict[str, set[str]] = {}
        for node in graph.nodes:
            for name in reads(node):
                self._readers.setdefault(name, set()).add(node.name)

    def block_before(self, last: gs.Node) -> Block | str:
        """The smallest block that ends with a node, or why there is none; empty where nobody would look for one."""
        if len(last.outputs) != 1 or self._kind(last.outputs[0]) is None:
            return ""
        end = last.outputs[0]
        if end.name in self._fixed:
            return "its output must stay"
        inside = {last.name}
        open_ends = self._variable_reads(last)
        summed = set(open_ends)
        while open_ends:
            if len(open_ends) == 1 and self._is_block(next(iter(open_ends)), end, inside):
                entry = next(iter(open_ends))
                nodes = tuple(sorted(inside, key=self._place.__getitem__))
                layers = tuple(name for name in nodes if is_weighted(self._nodes[name]))
                kind: Literal["branch", "block"] = "branch" if last.op == "Add" and entry in summed else "block"
                return Block(last.name, kind, entry, end.name, nodes, layers)
            # The latest first: when it is looked at, all of its readers on the way to the end are inside.
            deepest = max(open_ends, key=lambda name: self._place.get(self._writer.get(name, ""), -1))
            writer = self._writer.get(deepest)
            if writer is None:
                return "it begins at more than one tensor, or at one of another shape"
            if deepest in self._fixed:
                return f"{deepest!r} inside it must stay"
            written = [tensor.name for tensor in self._nodes[writer].outputs if tensor.name]
            outside = {reader for name in written for reader in self._readers.get(name, set())} - inside
            if outside:
                return f"{min(outside)!r} reads {deepest!r} inside it as well"
            inside.add(writer)
            open_ends = (open_ends - set(written)) | self._variable_reads(self._nodes[writer])
        return "it depends on constants alone"

    def _is_block(self, entry: str, end: gs.Tensor, inside: set[str]) -> bool:
        kind = self._kind(end)
        return kind == self._kind(self._variables[entry]) and any(is_weighted(self._nodes[name]) for name in inside)

    def _variable_reads(self, node: gs.Node) -> set[str]:
        return {name for name in reads(node) if name in self._variables}

    def _kind(self, tensor: gs.Tensor) -> tuple[tuple[tuple[int, ...], ...], str] | None:
        """Shapes at all sizes, and type, of a tensor of floats that has channels; None for others."""
        shapes = tuple(shape for shape in (each.of(tensor) for each in self._sizes) if shape is not None)
        if len(shapes) < len(self._sizes) or len(shapes[0]) < 2:
            return None
        if tensor.dtype is None or np.dtype(tensor.dtype).kind != "f":
            return None
        return shapes, np.dtype(tensor.dtype).name
