"""A layer's weight as a matrix with a row for each output channel, whatever the operator keeps it as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.windows import positions, windows_at
from yocc.compiler.graph.layers import output_axis

Array = np.ndarray[Any, Any]
MOST_FEATURES = 4096
"""Inputs of a Gemm or MatMul; the covariance of so many takes 134 MB, and fitting several times that."""


@dataclass(frozen=True)
class Layout:
    """Where a weight has its output channels.

    Attributes:
        axis: the axis of output channels.
        shape: the weight's shape.
    """

    axis: int
    shape: tuple[int, ...]

    def rows(self, weight: Array) -> Array:
        """The weight as a matrix, shape [outputs, inputs of one output]."""
        return np.moveaxis(weight, self.axis, 0).reshape(self.shape[self.axis], -1)

    def weight(self, rows: Array) -> Array:
        """The matrix in the weight's own layout."""
        moved = (self.shape[self.axis], *(size for index, size in enumerate(self.shape) if index != self.axis))
        return np.ascontiguousarray(np.moveaxis(rows.reshape(moved), 0, self.axis))


def layout_of(node: gs.Node, shape: tuple[int, ...]) -> Layout | None:
    """The layout of a weighted node's weight; None where it has no axis of output channels."""
    if node.op == "Conv":
        return Layout(0, shape)
    if node.op == "ConvTranspose":
        return Layout(1, shape) if node.attrs.get("group", 1) == 1 else None
    if node.op == "Gemm":
        return Layout(output_axis(node, 2), shape)
    return Layout(1, shape) if len(shape) == 2 else None


def can_sample(node: gs.Node, shape: tuple[int, ...]) -> bool:
    """Whether a layer's outputs are its rows times what `samples` gives, plus its bias.

    Not for a matrix with very many inputs, such as that behind a flattened picture: a picture gives one sample of them,
    and their covariance would take more memory than all the rest.
    """
    if node.op == "Conv":
        return len(shape) == 4 and node.attrs.get("group", 1) == 1
    if len(shape) == 2 and shape[1 - output_axis(node, 2)] > MOST_FEATURES:
        return False
    if node.op == "Gemm":
        return not node.attrs.get("transA", 0) and node.attrs.get("alpha", 1.0) == node.attrs.get("beta", 1.0) == 1.0
    return node.op == "MatMul" and len(shape) == 2


def samples(
    node: gs.Node, values: Array, outputs: Array, count: int, random: np.random.Generator
) -> tuple[Array, Array]:
    """What a layer multiplies and what it should give, at a few positions of its output.

    Half of a convolution's positions are drawn alike, half the more often the farther the outputs there are from their
    mean: objects take a small part of a picture, and what is fitted to the background alone loses them.

    Args:
        node: the layer, for which `can_sample` holds.
        values: its input.
        outputs: what it should give for another input at the same positions.
        count: positions at most.
        random: chooses them.

    Returns:
        Inputs, shape [positions, inputs], and outputs, shape [positions, outputs].
    """
    if node.op != "Conv":
        inputs, wanted = values.reshape(-1, values.shape[-1]), outputs.reshape(-1, outputs.shape[-1])
        chosen = positions((1, 1, len(inputs)), count, random)
        return inputs[chosen], wanted[chosen]
    pairs = []
    for one, wanted in zip(values, outputs, strict=True):
        chosen = _notable(wanted.reshape(len(wanted), -1), max(1, count // len(values)), random)
        windows = windows_at(one[None], node, wanted.shape[1:], chosen)
        pairs.append((windows.reshape(len(windows), -1), wanted.reshape(len(wanted), -1)[:, chosen].T))
    return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])


def _notable(outputs: Array, count: int, random: np.random.Generator) -> Array:
    """Positions of outputs of shape [channels, positions], ascending; those of much energy are more likely."""
    some = positions((1, *outputs.shape), -(-count // 2), random)
    energy = np.square(outputs - outputs.mean(axis=1, keepdims=True), dtype=np.float64).sum(axis=0)
    likely = np.square(energy)
    wanted = min(count - len(some), int(np.count_nonzero(likely)))
    if wanted < 1 or not np.isfinite(likely.sum()) or likely.sum() == 0:
        return some
    more = random.choice(len(likely), wanted, replace=False, p=likely / likely.sum())
    found: Array = np.sort(np.concatenate([some, more]))
    return found
