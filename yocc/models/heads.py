"""Where a detector's network ends and its decoding begins, read from the structure of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


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
        return tuple(_output_channels(node) for node in self.layers)

    @property
    def pointwise(self) -> bool:
        """Whether every layer is a 1x1 convolution, as the last ones of a YOLO head are."""
        return all(_output_channels(node) and set(_source(node.inputs[1]).shape[2:]) == {1} for node in self.layers)

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
        if _is_layer(node):
            layers.add(id(node))
            continue
        decode.add(id(node))
        pending += [producer for tensor in node.inputs for producer in tensor.inputs]
    return Head(
        tuple(node for node in graph.nodes if id(node) in layers),
        tuple(node for node in graph.nodes if id(node) in decode),
    )


def _is_layer(node: gs.Node) -> bool:
    if node.op not in _WEIGHTED:
        return False
    # A product of two computed tensors has no weights.
    if not any(isinstance(_source(tensor), gs.Constant) for tensor in node.inputs[1:]):
        return False
    return not _is_distribution_mean(node)


def _is_distribution_mean(node: gs.Node) -> bool:
    if node.op != "Conv" or _output_channels(node) != 1:
        return False
    producers = node.inputs[0].inputs
    while producers and producers[0].op in {"Transpose", "Reshape"}:
        producers = producers[0].inputs[0].inputs
    return bool(producers) and producers[0].op == "Softmax"


def _output_channels(node: gs.Node) -> int:
    weights = _source(node.inputs[1])
    if node.op != "Conv" or not isinstance(weights, gs.Constant):
        return 0
    return int(weights.shape[0])


def _source(tensor: gs.Tensor) -> gs.Tensor:
    """The weights themselves behind casts and dequantization."""
    while tensor.inputs and tensor.inputs[0].op in {"Cast", "DequantizeLinear", "QuantizeLinear", "Identity"}:
        tensor = tensor.inputs[0].inputs[0]
    return tensor
