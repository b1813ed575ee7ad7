"""The outputs of a detector, each with the last convolutions before it and what is computed behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from yocc.analysis.heads import Head, find_head
from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.errors import YoccError
from yocc.models.families.reading import MOVING, cells, class_names, dimensions
from yocc.runtime.data.preprocess import InputSpec


@dataclass(frozen=True)
class Tail:
    """One output.

    Attributes:
        name: of the output.
        shape: with the picture's default size where the model leaves it open; None for what stays unknown.
        head: the last layers before it and what follows them.
    """

    name: str
    shape: tuple[int | None, ...]
    head: Head

    @property
    def computing(self) -> frozenset[str]:
        """Operators behind the last layers that compute something."""
        return frozenset(node.op for node in self.head.decode) - MOVING - {"Shape"}

    @property
    def width(self) -> int | None:
        """Size of the last axis."""
        return self.shape[-1] if self.shape else None

    @property
    def count(self) -> int | None:
        """Number of candidates, the axis before the last."""
        return self.shape[-2] if len(self.shape) > 1 else None


def tails(graph: gs.Graph, picture: InputSpec) -> list[Tail]:
    """Every output of a graph.

    Args:
        graph: the detector.
        picture: its input, whose size stands for sizes that the graph leaves open.
    """
    shapes = {tensor.name: tuple(dimensions(tensor)) for tensor in graph.outputs}
    if isinstance(graph, Graph) and any(None in shape or not shape for shape in shapes.values()):
        known = _known_shapes(graph, picture)
        shapes = {name: known.get(name, shape) for name, shape in shapes.items()}
    return [Tail(tensor.name, shapes[tensor.name], find_head(graph, [tensor])) for tensor in graph.outputs]


def by_stride(
    some: Sequence[Tail], picture: InputSpec, strides: Sequence[int], per_cell: int = 1
) -> tuple[Tail, ...] | None:
    """Outputs ordered from the finest grid to the coarsest; None where their counts are not those of the grids.

    Where no count is known, the order of the outputs is taken for that of the grids.

    Args:
        some: one output for each stride.
        picture: the input.
        strides: ascending.
        per_cell: candidates of a cell.
    """
    if len(some) != len(strides):
        return None
    counts = [tail.count for tail in some]
    if all(count is None for count in counts):
        return tuple(some)
    if None in counts:
        return None
    ordered = sorted(some, key=lambda tail: -(tail.count or 0))
    wanted = [per_cell * cells(picture, (stride,)) for stride in strides]
    return tuple(ordered) if [tail.count for tail in ordered] == wanted else None


def of_width(some: Sequence[Tail], width: int) -> list[Tail]:
    """Those whose last axis has this size, in their order."""
    return [tail for tail in some if tail.width == width]


def protected_by(some: Sequence[Tail]) -> frozenset[str]:
    """Names of the tensors that the last layers before these outputs write."""
    return frozenset(tensor.name for tail in some for node in tail.head.layers for tensor in node.outputs)


def face_names(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """The name of the only class of a face detector; None where the metadata name several."""
    return class_names(metadata, 1) if metadata.get("names") else ("face",)


def _known_shapes(graph: Graph, picture: InputSpec) -> Mapping[str, tuple[int, ...]]:
    try:
        return concrete_shapes(graph, {picture.name: picture.shape}).shapes
    except YoccError:
        return {}
