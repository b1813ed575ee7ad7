"""What a convolution sees at a few positions: samples for the regression of its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

Array = np.ndarray[Any, Any]
_STEPS = 20
_SMALLEST = 1e-12


def positions(
    shape: tuple[int, ...], count: int, random: np.random.Generator, likelihood: Array | None = None
) -> Array:
    """Up to `count` distinct positions of an output of shape [1, channels, *spatial], flattened, ascending.

    Args:
        shape: the output's.
        count: how many.
        random: chooses them.
        likelihood: of each, none of it 0, summing to 1; None draws all alike.
    """
    size = int(np.prod(shape[2:]))
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


def outputs_at(values: Array, chosen: Array) -> Array:
    """Output channels at flat positions, shape [positions, channels]."""
    flat: Array = values[0].reshape(values.shape[1], -1)
    return flat[:, chosen].T


def windows_at(values: Array, node: gs.Node, spatial: tuple[int, int], chosen: Array) -> Array:
    """What a 2-D convolution multiplies at flat positions of its output.

    Args:
        values: its input, shape [1, channels, height, width].
        node: the Conv; its kernel, strides, pads and dilations are read.
        spatial: height and width of its output.
        chosen: flat output positions, shape [positions].

    Returns:
        Shape [positions, channels, kernel height, kernel width].
    """
    kernel = node.inputs[1].shape[2:]
    strides = node.attrs.get("strides", [1, 1])
    dilations = node.attrs.get("dilations", [1, 1])
    top, left, bottom, right = node.attrs.get("pads", [0, 0, 0, 0])
    padded = np.pad(values[0], ((0, 0), (top, bottom), (left, right)))
    rows, columns = np.divmod(chosen, spatial[1])
    rows = rows[:, None] * strides[0] + np.arange(kernel[0]) * dilations[0]
    columns = columns[:, None] * strides[1] + np.arange(kernel[1]) * dilations[1]
    return np.moveaxis(padded[:, rows[:, :, None], columns[:, None, :]], 0, 1)
