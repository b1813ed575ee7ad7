"""Convolutions whose result is split into a map for each anchor, as the last layers of a YOLOv5 are.

Such a head goes [N, A*K, H, W] -> [N, A, K, H, W] -> [N, A, H, W, K]: A anchors with K values at each of H x W cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.decoding import constants_of

_TO_LAST = [0, 1, 3, 4, 2]


@dataclass(frozen=True)
class AnchorMaps:
    """One convolution and what splits its result.

    Attributes:
        conv: the layer.
        reshape: splits its channels into anchors and values; of fixed shapes.
        transpose: moves the values last.
    """

    conv: gs.Node
    reshape: gs.Node
    transpose: gs.Node

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Batch, anchors, values, height, width."""
        batch, anchors, values, height, width = self.transpose.inputs[0].shape
        return batch, anchors, values, height, width

    @property
    def is_divisible(self) -> bool:
        """Whether nothing else reads the result, and weight and bias are constants that anchors can have parts of."""
        if len(self.conv.outputs[0].outputs) != 1 or self.conv.attrs.get("group", 1) != 1:
            return False
        return all(constants_of(tensor) is not None for tensor in self.conv.inputs[1:])

    @property
    def is_product(self) -> bool:
        """Whether each anchor's part is a matrix product at each cell: divisible, of 1 x 1, without strides or pads."""
        return self.is_divisible and is_pointwise(self.conv)


def is_pointwise(conv: gs.Node) -> bool:
    """Whether a convolution is a matrix product at each cell: one group, of 1 x 1, without strides or pads."""
    attrs, weight = conv.attrs, constants_of(conv.inputs[1])
    if weight is None or any(size != 1 for size in weight[0].shape[2:]) or attrs.get("group", 1) != 1:
        return False
    if any(step != 1 for step in attrs.get("strides", ())) or any(attrs.get("pads", ())):
        return False
    return attrs.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")


def anchor_maps(graph: Graph) -> Iterator[AnchorMaps]:
    """All of a graph, in node order."""
    for transpose in list(graph.nodes):
        if transpose.op != "Transpose" or list(transpose.attrs.get("perm", ())) != _TO_LAST:
            continue
        reshape = transpose.inputs[0].inputs[0] if transpose.inputs[0].inputs else None
        if reshape is not None and _splits_channels(reshape):
            yield AnchorMaps(reshape.inputs[0].inputs[0], reshape, transpose)


def _splits_channels(reshape: gs.Node) -> bool:
    """Whether a Reshape of fixed shapes splits the channels of a convolution's output and nothing else."""
    source, result = reshape.inputs[0], reshape.outputs[0]
    if reshape.op != "Reshape" or not source.inputs or source.inputs[0].op != "Conv":
        return False
    before, after = source.shape, result.shape
    if before is None or after is None or len(before) != 4 or len(after) != 5:
        return False
    if not all(isinstance(size, int) and size > 0 for size in [*before, *after]):
        return False
    return bool(before[0] == after[0] and before[1] == after[1] * after[2] and before[2:] == after[3:])
