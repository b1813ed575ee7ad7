"""How the first layer responds to pictures: whether they are scaled as in training shows there.

A convolution that is trained on pictures of one scale has a bias of the size of what it makes of them. Fed with values
a hundred times as small, it gives its bias and little else. Where a BatchNormalization follows, its running mean and
variance are those of the values it was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, to_proto
from yocc.compiler.pipeline.passes import Arrays

Array = np.ndarray[Any, Any]
_PREPARING = frozenset(
    "Add BatchNormalization Cast Concat Div Gather Identity Mul Pad Reshape Resize Slice SpaceToDepth Split Sub "
    "Transpose".split()
)
"""Operators that may stand between the input and the first convolution."""


@dataclass(frozen=True)
class FirstLayer:
    """The first convolution behind an input.

    Attributes:
        name: of the node.
        model: the graph up to it, with its result as the only output.
        statistics: running mean and variance of a BatchNormalization that follows, for each channel; None without one.
    """

    name: str
    model: onnx.ModelProto
    statistics: tuple[Array, Array] | None


@dataclass(frozen=True)
class Response:
    """What a first layer makes of pictures.

    Attributes:
        bias: median over the channels of the size of their mean over their standard deviation; infinite where nothing
            varies.
        divergence: median over the channels of the symmetric Kullback-Leibler divergence of normal distributions with
            the mean and variance that there are, and those of the BatchNormalization; None without one.
    """

    bias: float
    divergence: float | None


def find_first_layer(graph: Graph, name: str) -> FirstLayer | None:
    """The only convolution that reads an input, directly or behind what prepares pictures; None where there is none.

    Args:
        graph: sorted; not changed.
        name: of the input.
    """
    reached = {name}
    found: list[gs.Node] = []
    for node in graph.nodes:
        if not any(tensor.name in reached for tensor in node.inputs):
            continue
        if node.op == "Conv" and not node.domain:
            found.append(node)
        elif node.op in _PREPARING and not node.domain:
            reached |= {tensor.name for tensor in node.outputs}
        elif node.op != "Shape":
            return None
    if len(found) != 1:
        return None
    output = found[0].outputs[0]
    return FirstLayer(found[0].name, _up_to(to_proto(graph), output.name), _statistics(output))


def respond(layer: FirstLayer, run: Callable[[Arrays], Arrays], feeds: Iterable[Arrays]) -> Response:
    """Run a first layer on pictures.

    Args:
        layer: as found.
        run: runs its model.
        feeds: at least one.
    """
    count = 0
    sums: list[Array] = [np.zeros(1), np.zeros(1)]
    for arrays in feeds:
        (values,) = run(arrays).values()
        flat = np.moveaxis(values.astype(np.float64), 1, 0).reshape(values.shape[1], -1)
        count += flat.shape[1]
        sums = [sums[0] + flat.sum(axis=1), sums[1] + (flat**2).sum(axis=1)]
    mean = sums[0] / count
    variance = np.maximum(sums[1] / count - mean**2, 0.0)
    deviation = np.sqrt(variance)
    ratio = np.divide(np.abs(mean), deviation, out=np.full(mean.shape, np.inf), where=deviation > 0)
    if layer.statistics is None:
        return Response(float(np.median(ratio)), None)
    known = (variance > 0) & (layer.statistics[1] > 0)
    if not known.any():
        return Response(float(np.median(ratio)), None)
    trained, spread = (each[known] for each in layer.statistics)
    apart = (mean[known] - trained) ** 2
    divergence = ((variance[known] + apart) / spread + (spread + apart) / variance[known]) / 2 - 1
    return Response(float(np.median(ratio)), float(np.median(divergence)))


def _statistics(output: gs.Variable) -> tuple[Array, Array] | None:
    """Of a BatchNormalization that alone reads a tensor; None where it is as before any training."""
    readers = list(output.outputs)
    if len(readers) != 1 or readers[0].op != "BatchNormalization":
        return None
    given = readers[0].inputs[3:5]
    if not all(isinstance(each, gs.Constant) for each in given):
        return None
    mean, variance = (np.asarray(each.values, np.float64) for each in given)
    return (mean, variance) if mean.any() or (variance != 1).any() else None


def _up_to(model: onnx.ModelProto, output: str) -> onnx.ModelProto:
    """The part of a model that computes a tensor."""
    graph = model.graph
    needed, kept = {output}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    part = onnx.helper.make_graph(
        kept[::-1],
        "first layer",
        [each for each in graph.input if each.name in needed],
        [onnx.helper.make_empty_tensor_value_info(output)],
        [each for each in graph.initializer if each.name in needed],
    )
    return onnx.helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
