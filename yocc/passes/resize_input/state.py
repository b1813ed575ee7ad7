"""What is known while a graph is walked at its old and its new input size at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, node_proto
from yocc.compiler.graph.evaluating import compute
from yocc.compiler.graph.layers import is_weighted
from yocc.compiler.graph.shapes import KnownSizes
from yocc.compiler.pipeline.passes import Cells
from yocc.errors import PassError
from yocc.passes.resize_input.extents import Axis, Extent, Kind

Array = np.ndarray[Any, Any]
_MOST_VALUES = 2**22
"""Elements of a constant that is computed from others."""


@dataclass
class State:
    """A walk in progress. It changes the graph's nodes, never its constants.

    Attributes:
        graph: sorted.
        old: shapes and values at the old size.
        new: those at the new size.
        cells: how the decoding of a known detector counts cells; None for other networks.
        open_batch: whether the new batch is a number that is not known.
        extents: dimensions of each tensor whose shape is known at both sizes.
        fixed: names of constants, and of what is computed from constants alone.
        rewrites: inputs of nodes that were replaced, so far.
        growing: names of Expand nodes whose sizes follow from the input's, found out by an earlier walk.
        unsure: Expand nodes whose sizes were left as they are, although they equal a height or width.
    """

    graph: Graph
    old: KnownSizes
    new: KnownSizes
    cells: Cells | None
    open_batch: bool
    extents: dict[str, list[Extent]] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)
    rewrites: int = 0
    growing: frozenset[str] = frozenset()
    unsure: list[gs.Node] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)
    _decoding: set[int] = field(default_factory=set)
    _made: list[tuple[str, Array, gs.Constant]] = field(default_factory=list)

    def __post_init__(self) -> None:
        tensors = self.graph.tensors()
        self._names = {*tensors, *(tensor.name for tensor in self.graph.inputs)}
        self.fixed = {name for name, tensor in tensors.items() if isinstance(tensor, gs.Constant)}
        for name in self.fixed:
            self.extents[name] = [Extent.fixed(size) for size in self.old.shapes[name]]
        self._decoding = _behind_layers(self.graph)

    def of(self, tensor: gs.Tensor) -> list[Extent] | None:
        """The dimensions of a tensor; None where they depend on data."""
        return self.extents.get(tensor.name)

    def varies(self, tensor: gs.Tensor) -> bool:
        """Whether the input size went into a tensor's shape."""
        return any(extent.varies for extent in self.extents.get(tensor.name, ()))

    def decodes(self, node: gs.Node) -> bool:
        """Whether no layer with weights follows a node."""
        return id(node) in self._decoding

    def vectors(self, tensor: gs.Tensor | None) -> tuple[list[int], list[int]] | None:
        """A tensor of integers at the old and the new size; None where it depends on data, or there is none."""
        if tensor is None or not tensor.name:
            return None
        old, new = (known.values.get(tensor.name) for known in (self.old, self.new))
        if old is None or new is None or not old.size or old.dtype.kind not in "iu":
            return None
        return [int(value) for value in old.reshape(-1)], [int(value) for value in new.reshape(-1)]

    def numbers(self, tensor: gs.Tensor | None) -> tuple[list[float], list[float]] | None:
        """A tensor of real numbers at the old and the new size; None where it depends on data, or there is none."""
        if tensor is None or not tensor.name:
            return None
        old, new = (known.values.get(tensor.name) for known in (self.old, self.new))
        if old is None or new is None or not old.size:
            return None
        return [float(value) for value in old.reshape(-1)], [float(value) for value in new.reshape(-1)]

    def constant(self, tensor: gs.Tensor) -> Array | None:
        """Value of what is computed from constants alone; None where onnx cannot compute it."""
        if isinstance(tensor, gs.Constant):
            value: Array = tensor.values
            return value
        if tensor.name in self.old.values:
            return self.old.values[tensor.name]
        if tensor.name not in self.fixed or math.prod(self.old.shapes.get(tensor.name, (0,))) > _MOST_VALUES:
            return None
        node = tensor.inputs[0]
        read: dict[str, Array] = {}
        for source in node.inputs:
            value_read = self.constant(source) if source.name else None
            if value_read is not None:
                read[source.name] = value_read
        results = compute(node_proto(node), self.graph.opset, read)
        place = next(index for index, output in enumerate(node.outputs) if output is tensor)
        return None if results is None else results[place]

    def replace(self, node: gs.Node, slot: int, value: Array) -> None:
        """Let a node read another constant in place of one of its inputs."""
        before = node.inputs[slot]
        for name, known, constant in self._made:
            if name == before.name and known.dtype == value.dtype and np.array_equal(known, value):
                node.inputs[slot] = constant
                break
        else:
            constant = gs.Constant(self._free_name(before.name or f"{node.name}.sizes"), value)
            self._made.append((before.name, value, constant))
            self.old.add_constant(constant)
            self.new.add_constant(constant)
            self.extents[constant.name] = [Extent.fixed(size) for size in value.shape]
            self.fixed.add(constant.name)
            node.inputs[slot] = constant
        self.rewrites += 1

    def _free_name(self, wanted: str) -> str:
        name = f"{wanted}_resized"
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name


def refuse(node: gs.Node, reason: str) -> NoReturn:
    """Say why a graph's size cannot be changed.

    Raises:
        PassError: always.
    """
    raise PassError(
        f"The input size cannot be changed: {reason}.",
        "Export the model at the new size, or with open sizes (dynamic axes).",
        node.name,
    )


def picture_extents(old: tuple[int, ...], new: tuple[int, ...], spatial: tuple[int, int]) -> list[Extent]:
    """The dimensions of the picture input.

    Args:
        old: its shape before.
        new: its shape after.
        spatial: which of its axes are height and width.
    """
    kinds: dict[int, Kind] = {0: "batch", spatial[0]: "height", spatial[1]: "width"}
    return [
        Extent.of(Axis(before, after, kinds.get(place, "")))
        for place, (before, after) in enumerate(zip(old, new, strict=True))
    ]


def _behind_layers(graph: Graph) -> set[int]:
    """Nodes that no layer with weights follows."""
    before: set[int] = set()
    for node in reversed(graph.nodes):
        readers = [reader for output in node.outputs for reader in output.outputs]
        if any(is_weighted(reader) or id(reader) in before for reader in readers):
            before.add(id(node))
    return {id(node) for node in graph.nodes if id(node) not in before}
