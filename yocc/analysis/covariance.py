"""How the inputs of layers vary together, from pictures."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.pictures import in_time, require_finite
from yocc.analysis.windows import channel_axis, flat_weight, is_plain, positions, windows_at
from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.fitting.moments import InputMoments

Array = np.ndarray[Any, Any]
PICTURES = 48
LARGEST = 2304
"""Inputs of a layer (channels times kernel) up to which all of them are set against each other; 256 channels under a
3 x 3 kernel. Of larger layers only the inputs from one channel are."""
POINTS = 256
"""Positions sampled in each layer and picture."""


def input_covariances(graph: Graph, shapes: Shapes, feeds: Feeds, ctx: PassContext) -> dict[str, Array]:
    """Covariance of what layers with a weight of their own multiply, over sampled positions.

    As `input_moments`, of which it is by layer the covariance: of shape [inputs, inputs], or [channels, kernel, kernel]
    for layers with more than `LARGEST` inputs.
    """
    covariances = {name: found.covariance for name, found in input_moments(graph, shapes, feeds, ctx).items()}
    return {name: found[0] if len(found) == 1 else found for name, found in covariances.items()}


def input_moments(
    graph: Graph, shapes: Shapes, feeds: Feeds, ctx: PassContext, only: Collection[str] | None = None
) -> dict[str, InputMoments]:
    """Moments of what layers with a weight of their own multiply, over sampled positions.

    These are ungrouped 2-D convolutions, Gemm whose first matrix is not transposed, and MatMul by a matrix.

    Args:
        graph: the graph.
        shapes: its concrete shapes.
        feeds: pictures; up to `PICTURES` of them, evenly spaced, are used, fewer where time is short.
        ctx: runs the model, shows progress.
        only: layers to look at; None for all.

    Returns:
        By layer, one block of all inputs, channel by channel; for layers with more than `LARGEST` inputs a block for
        each channel.

    Raises:
        CalibrationError: what a layer reads is not finite.
    """
    layers = [node for node in graph.nodes if is_plain(node) and shapes.of(node.outputs[0]) is not None]
    layers = [node for node in layers if only is None or node.name in only]
    if not layers:
        return {}
    run = run_until(graph, [node.inputs[0].name for node in layers], ctx)
    random = ctx.random()
    sums = {node.name: _empty(flat_weight(node).shape[0] // _kernel(node), _kernel(node)) for node in layers}
    pictures = in_time(feeds, PICTURES, run, ctx)
    for arrays in ctx.progress(pictures, "covariances", len(pictures)):
        values = run(arrays)
        require_finite(values, dict.fromkeys(node.inputs[0].name for node in layers))
        for node in layers:
            output = shapes.shapes[node.outputs[0].name]
            chosen = positions(output, POINTS, random, axis=channel_axis(node))
            windows = windows_at(values[node.inputs[0].name], node, output[2:], chosen)
            found = sums[node.name]
            samples = windows.reshape(len(windows), len(found.total), -1).astype(np.float64)
            found.add(samples.swapaxes(0, 1))
    return sums


def _empty(channels: int, kernel: int) -> InputMoments:
    """Of all inputs against each other, one block; of a large layer a block for each channel."""
    whole = channels * kernel <= LARGEST
    return InputMoments.empty(1, channels * kernel) if whole else InputMoments.empty(channels, kernel)


def _kernel(node: gs.Node) -> int:
    """Inputs of a plain layer from each channel."""
    return math.prod(node.inputs[1].shape[2:])
