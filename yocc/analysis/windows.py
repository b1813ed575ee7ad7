"""What a layer sees and gives at a few positions: samples for the regression of its weights.

A position is everything but the channel: a row and column of one sample of a batch in a convolution, a row of what a
matrix multiplies in a Gemm or MatMul. Positions are numbered in the order of the tensor without its channels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph.layers import output_axis
from yocc.compiler.graph.padding import explicit_pads

Array = np.ndarray[Any, Any]
LARGEST_MATRIX = 2**23
"""Elements of the weight of a Gemm or MatMul up to which it is looked at."""
_STEPS = 20
_SMALLEST = 1e-12


def channel_axis(node: gs.Node) -> int:
    """The axis of a layer's input and output that holds its channels: the last of a matrix product."""
    return -1 if node.op in ("Gemm", "MatMul") else 1


def is_plain(node: gs.Node) -> bool:
    """Whether a layer's outputs are `flat_weight` times what `windows_at` gives, plus a bias."""
    if node.op not in ("Conv", "Gemm", "MatMul") or not isinstance(node.inputs[1], gs.Constant):
        return False
    if node.op == "Conv":
        return len(node.inputs[1].shape) == 4 and node.attrs.get("group", 1) == 1
    shape = node.inputs[1].shape
    return len(shape) == 2 and math.prod(shape) <= LARGEST_MATRIX and not node.attrs.get("transA", 0)


def flat_weight(node: gs.Node) -> Array:
    """The weight of a plain layer as a matrix, shape [inputs, outputs], in float64; inputs stand channel by channel."""
    weight: Array = node.inputs[1].values.astype(np.float64)
    if node.op == "Conv":
        return weight.reshape(len(weight), -1).T
    return (weight if output_axis(node, 2) else weight.T) * float(node.attrs.get("alpha", 1.0))


def positions(
    shape: tuple[int, ...],
    count: int,
    random: np.random.Generator,
    likelihood: Array | None = None,
    *,
    axis: int = 1,
) -> Array:
    """Up to `count` distinct positions of an output, flattened, ascending.

    Args:
        shape: the output's.
        count: how many.
        random: chooses them.
        likelihood: of each, none of it 0, summing to 1; None draws all alike.
        axis: of its channels.
    """
    size = math.prod(shape) // max(1, shape[axis])
    chosen: Array = np.sort(random.choice(size, min(count, size), replace=False, p=likelihood))
    return chosen


def represented(size: int, count: int, likelihood: Array | None, chosen: Array) -> Array:
    """For how many positions each that `positions` chose stands, so that sums over these are about those over all.

    The reciprocal of how likely it was to be among them: 1 - exp(-t p), as if each came at times of its own rate and
    the first ones were taken, with t such that `count` are expected.

    Args:
        size: of how many.
        count: how many were wanted.
        likelihood: of each position, as `positions` took it.
        chosen: flat positions.
    """
    if count >= size or likelihood is None:
        return np.full(len(chosen), max(1.0, size / count))
    time = float(count)
    # The expected number grows ever slower with the time, so that Newton's steps from below never overshoot.
    for _ in range(_STEPS):
        missed = np.exp(-time * likelihood)
        time += (count - (size - missed.sum())) / max(float(likelihood @ missed), _SMALLEST)
    found: Array = 1 / (1 - np.exp(-time * likelihood[chosen]))
    return found


def outputs_at(values: Array, chosen: Array, *, axis: int = 1) -> Array:
    """Channels at flat positions, shape [positions, channels], of an output with its channels along an axis."""
    flat: Array = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    return flat[:, chosen].T


def windows_at(values: Array, node: gs.Node, spatial: tuple[int, ...], chosen: Array) -> Array:
    """What a 2-D convolution, or a product with a constant matrix, multiplies at flat positions of its output.

    Args:
        values: its input, shape [batch, channels, height, width]; [..., channels] for a matrix product.
        node: the layer; kernel, strides, pads and dilations of a Conv are read.
        spatial: height and width of its output, nothing for a matrix product.
        chosen: flat output positions, shape [positions].

    Returns:
        Shape [positions, channels, kernel height, kernel width]; [positions, channels] for a matrix product.
    """
    if channel_axis(node) == -1:
        return outputs_at(values, chosen, axis=-1)
    kernel = node.inputs[1].shape[2:]
    strides = node.attrs.get("strides", [1, 1])
    dilations = node.attrs.get("dilations", [1, 1])
    top, left, bottom, right = explicit_pads(node, values.shape[2:], kernel)
    padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
    samples, rows, columns = np.unravel_index(chosen, (len(values), *spatial))
    rows = rows[:, None] * strides[0] + np.arange(kernel[0]) * dilations[0]
    columns = columns[:, None] * strides[1] + np.arange(kernel[1]) * dilations[1]
    # The first index and the last two broadcast to [positions, kernel height, kernel width], in front of the channels.
    taken: Array = padded[samples[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return np.moveaxis(taken, -1, 1)
