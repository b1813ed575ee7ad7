"""Rejecting models that compute tensors larger than memory, before a runtime tries to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import Shapes, is_open
from yocc.compiler.graph.types import numpy_type
from yocc.errors import ModelError, OptionError

MOST_BYTES = 2**32
"""Of a tensor that is computed from the inputs."""
MOST_CONSTANT_BYTES = 2**29
"""Of a tensor that is computed from constants alone; runtimes compute it as soon as they load the model."""


def require_runnable_size(graph: Graph, shapes: Shapes, input_shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Reject a graph that computes a tensor which is too large to run here.

    Args:
        graph: sorted.
        shapes: concrete shapes of its tensors; what is not in them is not judged.
        input_shapes: the shapes of the inputs that they were computed for.

    Raises:
        ModelError: the model leaves no input size open, or the tensor does not depend on the inputs.
        OptionError: the model leaves input sizes open, so smaller ones may do.
    """
    for tensor, varies in _computed(graph, set()):
        size = _bytes(tensor, shapes)
        if size > (MOST_BYTES if varies else MOST_CONSTANT_BYTES):
            raise _refusal(graph, tensor, size, input_shapes, varies=varies)


def _computed(graph: gs.Graph, varying: set[str]) -> Iterator[tuple[gs.Tensor, bool]]:
    """Every tensor that nodes give, in subgraphs too, and whether it depends on inputs, whose names join `varying`."""
    varying.update(tensor.name for tensor in graph.inputs)
    for node in graph.nodes:
        subgraphs = list(node.subgraphs())
        for subgraph in subgraphs:
            yield from _computed(subgraph, varying)
        varies = bool(subgraphs) or any(tensor.name in varying for tensor in node.inputs)
        if varies:
            varying.update(tensor.name for tensor in node.outputs)
        yield from ((tensor, varies) for tensor in node.outputs)


def _bytes(tensor: gs.Tensor, shapes: Shapes) -> int:
    shape = shapes.of(tensor)
    if shape is None:
        return 0
    return math.prod(shape) * (4 if tensor.dtype is None else numpy_type(tensor.dtype).itemsize)


def _refusal(
    graph: Graph, tensor: gs.Tensor, size: int, input_shapes: Mapping[str, tuple[int, ...]], *, varies: bool
) -> ModelError | OptionError:
    what = f"The tensor {tensor.name!r} takes {size / 2**30:,.1f} GiB"
    opened = [each.name for each in graph.inputs if is_open(each) and each.name in input_shapes]
    if not varies or not opened:
        return ModelError(f"{what}, too large to run.", "Export the model with smaller sizes.")
    taken = ", ".join(f"{name}={','.join(map(str, input_shapes[name]))}" for name in opened)
    return OptionError(
        f"{what} with the input shape {taken}, too large to run.",
        "Give a smaller one with --input-shape.",
    )
