"""Timing one network against another, and finding whose kernels take which time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, to_proto
from yocc.compiler.graph.operators import WEIGHTED
from yocc.compiler.graph.shapes import Shapes, concrete_shapes
from yocc.compiler.pipeline.alternating import alternate
from yocc.compiler.pipeline.kernels import FUSED, fused_behind, owner_of
from yocc.compiler.pipeline.passes import Arrays, PassContext, require_executor

Array = np.ndarray[Any, Any]
STEP = 16
"""Widths measured are multiples of this where there are several: a register of 512 bits, to which others are padded."""
_FUSED = FUSED | {"Add"}
"""What may stand in one kernel with a layer that has none of its own."""
_ROUNDS = (15, 60)
_SECONDS = 6.0
"""For timing two networks against each other, within the rounds above."""
_FAST = 20
"""Percentile of the times that is compared."""


def by_node(graph: Graph, kernels: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """Milliseconds by node, and what belongs to none: kernels are named after nodes or tensors, with endings.

    The kernel of a layer that is computed together with what stands behind it is the layer's.
    """
    owners = {name: node.name for node in graph.nodes for name in (*(t.name for t in node.outputs), node.name) if name}
    times: dict[str, float] = {}
    rest = 0.0
    for kernel, ms in kernels.items():
        name = owner_of(kernel, owners)
        if name is not None:
            owner = owners[name]
            times[owner] = times.get(owner, 0.0) + ms
        else:
            rest += ms
    for node in graph.nodes:
        if node.op in WEIGHTED and node.name not in times:
            named = (each.name for each in fused_behind(node, _FUSED) if each.name in times)
            if (last := next(named, None)) is not None:
                times[node.name] = times.pop(last)
    return times, rest


def time_ratio(ctx: PassContext, original: Graph, candidate: Graph) -> float:
    """Time of a candidate as a share of the original's, both run in alternation.

    What disturbs a run only ever adds to it, so that the fast runs of each are compared.

    Raises:
        InternalError: the context runs no models.
    """
    executor = require_executor(ctx, "Timing")
    runs = [executor(to_proto(graph)) for graph in (original, candidate)]
    feeds = timing_feeds(original, ctx)
    for run in runs * 2:
        run(feeds)
    started = time.perf_counter()
    pairs: list[tuple[float, float]] = []
    for pair in alternate(lambda _: runs[0](feeds), lambda _: runs[1](feeds), range(_ROUNDS[1])):
        pairs.append(pair)
        if len(pairs) >= _ROUNDS[0] and time.perf_counter() - started >= _SECONDS:
            break
    before, after = np.percentile(pairs, _FAST, axis=0)
    return float(after / before)


def timing_feeds(graph: Graph, ctx: PassContext) -> Arrays:
    """One picture, or noise where there is none."""
    if ctx.feeds is not None and len(ctx.feeds):
        return next(iter(ctx.feeds))
    random, shapes = ctx.random(), concrete_shapes(graph, ctx.input_shapes)
    return {tensor.name: _noise(random, shapes.shapes[tensor.name], tensor.dtype) for tensor in graph.inputs}


def widths_of(shapes: Shapes, node: gs.Node) -> tuple[int, int]:
    """Channels of what a node reads first and of what it makes, as tables count them; 0 where there are none."""
    found = [shapes.of(tensor) for tensor in (node.inputs[0], node.outputs[0])]
    inputs, outputs = (0 if shape is None or len(shape) < 2 else shape[1] for shape in found)
    return inputs, outputs


def _noise(random: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    kind = np.dtype(dtype)
    return random.random(shape).astype(kind) if kind.kind == "f" else random.integers(0, 2, shape).astype(kind)
