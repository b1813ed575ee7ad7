"""Tiny detectors of every layout, drawn as graphs, for tests."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

NAMES = "{0: 'cat', 1: 'dog'}"
SIZE = 64


class Writer:
    def __init__(self, shape: tuple[int | str, ...] = (1, 3, SIZE, SIZE)) -> None:
        self.nodes: list[gs.Node] = []
        self.input = gs.Variable("pixels", np.float32, list(shape))

    def add(self, op: str, inputs: list[gs.Tensor], outputs: int = 1, **attributes: object) -> list[gs.Variable]:
        made = [gs.Variable(f"t{len(self.nodes)}_{place}", np.float32) for place in range(outputs)]
        self.nodes.append(gs.Node(op, f"n{len(self.nodes)}", attributes, inputs=inputs, outputs=made))
        return made

    def conv(self, tensor: gs.Tensor, channels: int, stride: int = 1, kernel: int = 1) -> gs.Variable:
        weights = gs.Constant(f"w{len(self.nodes)}", np.zeros((channels, 1, kernel, kernel), np.float32))
        return self.add("Conv", [tensor, weights], strides=[stride, stride])[0]

    def graph(self, outputs: list[gs.Variable], metadata: dict[str, str] | None = None) -> gs.Graph:
        graph = gs.Graph(self.nodes, [self.input], outputs)
        graph.metadata = {"names": NAMES} if metadata is None else metadata
        return graph


def shaped(tensor: gs.Variable, shape: list[int | str] | None) -> gs.Variable:
    tensor.shape = shape
    return tensor


def rows(
    shape: list[int | str] | None,
    metadata: dict[str, str] | None = None,
    size: tuple[int | str, ...] = (1, 3, SIZE, SIZE),
    channels: tuple[int, ...] = (21, 21, 21),
) -> gs.Graph:
    write = Writer(size)
    parts = []
    for some in channels:
        head = write.conv(write.conv(write.input, 8, kernel=3), some)
        parts += write.add("Split", write.add("Sigmoid", [head]), 1)
    return write.graph([shaped(write.add("Concat", parts)[0], shape)], metadata)


def raw(
    shapes: list[list[int | str]],
    metadata: dict[str, str] | None = None,
    channels: int = 21,
    sigmoid: bool = False,
    kernel: int = 1,
    size: tuple[int | str, ...] = (1, 3, SIZE, SIZE),
) -> gs.Graph:
    write = Writer(size)
    outputs = []
    for shape in shapes:
        head = write.conv(write.conv(write.input, 8, kernel=3), channels, kernel=kernel)
        head = write.add("Sigmoid", [head])[0] if sigmoid else head
        outputs.append(shaped(write.add("Transpose", [head])[0] if len(shape) == 5 else head, shape))
    return write.graph(outputs, metadata)


def columns(
    shape: list[int | str] | None,
    metadata: dict[str, str] | None = None,
    size: tuple[int | str, ...] = (1, 3, SIZE, SIZE),
) -> gs.Graph:
    """YOLOv8: per scale a box distribution of 16 bins and the classes; the mean of the distribution is a Conv."""
    write = Writer(size)
    distributions = [write.conv(write.input, 64) for _ in range(3)]
    classes = [write.conv(write.input, 2) for _ in range(3)]
    softmax = write.add("Softmax", write.add("Concat", distributions))[0]
    mean = write.conv(write.add("Transpose", [softmax])[0], 1)
    scores = write.add("Sigmoid", write.add("Concat", classes))[0]
    return write.graph([shaped(write.add("Concat", [mean, scores])[0], shape)], metadata)
