"""Where a detector's network ends and its decoding begins, read from the structure of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from yocc.compiler.graph.cost import weight_of
from yocc.compiler.graph.layers import is_weighted


@dataclass(frozen=True)
class Head:
    """The last weighted layers in front of some outputs, and what follows them.

    Attributes:
        layers: the nodes with weights after which none with weights follows, in graph order.
        decode: the nodes between `layers` and the outputs, in graph order.
    """

    layers: tuple[gs.Node, ...]
    decode: tuple[gs.Node, ...]

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of each layer; 0 where a layer is not a convolution with constant weights."""
        return tuple(output_channels(node) for node in self.layers)

    @property
    def pointwise(self) -> bool:
        """Whether every layer is a 1x1 convolution, as the last ones of a YOLO head are."""
        return all(_is_pointwise(node) for node in self.layers)

    @property
    def squashes(self) -> bool:
        """Whether the decoding has a Sigmoid, so that scores leave the graph as probabilities."""
        return any(node.op == "Sigmoid" for node in self.decode)


def find_head(graph: gs.Graph, outputs: Sequence[gs.Variable]) -> Head:
    """Walk back from the outputs to the last weighted layers.

    The convolution by which YOLOv8 takes the mean over its box distribution (distribution focal loss, one output
    channel behind a Softmax) belongs to the decoding. `Shape` ends a walk: it reads no values.

    Args:
        graph: the detector.
        outputs: the outputs to start from.

    Returns:
        The head; without layers when no weighted layer feeds the outputs.
    """
    layers: set[int] = set()
    decode: set[int] = set()
    pending = [node for output in outputs for node in output.inputs]
    while pending:
        node = pending.pop()
        if id(node) in layers or id(node) in decode or node.op == "Shape":
            continue
        if is_weighted(node):
            layers.add(id(node))
            continue
        decode.add(id(node))
        pending += [producer for tensor in node.inputs for producer in tensor.inputs]
    return Head(
        tuple(node for node in graph.nodes if id(node) in layers),
        tuple(node for node in graph.nodes if id(node) in decode),
    )


def output_channels(node: gs.Node) -> int:
    """Output channels of a convolution with constant weights; 0 for other nodes."""
    weight = weight_of(node)
    return int(weight.shape[0]) if node.op == "Conv" and weight is not None else 0


def _is_pointwise(node: gs.Node) -> bool:
    weight = weight_of(node)
    return node.op == "Conv" and weight is not None and set(weight.shape[2:]) == {1}
