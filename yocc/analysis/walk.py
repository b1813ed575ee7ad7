"""Going through a network layer by layer with what pictures say about each, while its layers are being replaced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from threadpoolctl import threadpool_limits

from yocc.analysis.layouts import Layout, samples
from yocc.analysis.pictures import some_pictures
from yocc.analysis.stepping import Stepper, by_depth
from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.fitting.moments import Moments

_ROOM = 2**28
"""Bytes that each of the two networks keeps."""
_TOGETHER = 8
"""Pictures whose samples are multiplied at once."""
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sampling:
    """How much is looked at.

    Attributes:
        pictures: at most, evenly spaced.
        points: positions of each layer's output, for each picture.
    """

    pictures: int
    points: int


def walk(
    graph: Graph, teacher: Graph, layers: dict[str, Layout], feeds: Feeds, ctx: PassContext, sampling: Sampling
) -> Iterator[tuple[gs.Node, Moments]]:
    """Yield each layer with its moments: inputs of the graph as changed so far, outputs of the teacher.

    What is done to a layer before the next is asked for, the layers after it see: errors are made up for and do not add
    up.

    Args:
        graph: sorted; only the layers yielded may be changed meanwhile, and no node may be added.
        teacher: gives the wanted outputs under the same names.
        layers: by name, those whose outputs are a matrix times samples of their inputs.
        feeds: pictures.
        ctx: runs models, shows progress.
        sampling: how much is looked at.
    """
    # These products are small: more threads take more time of the processor and no less on the clock. And sums come out
    # alike on machines with any number of cores.
    with threadpool_limits(limits=1, user_api="blas"):
        yield from _walk(graph, teacher, layers, feeds, ctx, sampling)


def _walk(
    graph: Graph, teacher: Graph, layers: dict[str, Layout], feeds: Feeds, ctx: PassContext, sampling: Sampling
) -> Iterator[tuple[gs.Node, Moments]]:
    count = min(sampling.pictures, len(feeds))
    pictures = some_pictures(feeds, count)
    given, wanted = (Stepper(one, pictures, ctx, room=_ROOM) for one in (graph, teacher))
    groups = by_depth(graph, layers)
    random = ctx.random()
    for group in ctx.progress(groups, "fit layers", len(groups)):
        moments = {node.name: _empty(layers[node.name]) for node in group}
        inputs = given.step([node.inputs[0].name for node in group])
        outputs = wanted.step([node.outputs[0].name for node in group])
        pending: dict[str, list[tuple[Array, Array]]] = {node.name: [] for node in group}
        for number, (x, z) in enumerate(zip(inputs, outputs, strict=True), 1):
            for node in group:
                seen = samples(node, x[node.inputs[0].name], z[node.outputs[0].name], sampling.points, random)
                pending[node.name].append(seen)
                # Matrix products of many samples at once take a fraction of the time of many of few.
                if number % _TOGETHER == 0 or number == count:
                    moments[node.name].add(*(np.concatenate(part) for part in zip(*pending[node.name], strict=True)))
                    pending[node.name].clear()
        for node in group:
            yield node, moments.pop(node.name)


def _empty(layout: Layout) -> Moments:
    outputs = layout.shape[layout.axis]
    size = 1
    for length in layout.shape:
        size *= length
    return Moments.empty(size // outputs, outputs)
