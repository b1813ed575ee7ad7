"""Measuring a network's layers at several widths, and one network against another."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from yocc.analysis.coupling.channels import ChannelMap, map_channels
from yocc.compiler.graph import Graph, clone, refresh, to_proto
from yocc.compiler.graph.shapes import Shapes, concrete_shapes
from yocc.compiler.pipeline.alternating import alternate
from yocc.compiler.pipeline.kernels import owner_of
from yocc.compiler.pipeline.latency import LatencyTable, WidthTime
from yocc.compiler.pipeline.passes import Arrays, PassContext, Profiler, require_executor
from yocc.passes.prune.remove import remove_channels, split_shared

Array = np.ndarray[Any, Any]
UNIFORM = (1.0, 0.75, 0.5, 0.25)
"""Widths of all layers alike."""
MIXED = 8
"""Networks in which each group of channels has a width of its own, so that inputs and outputs vary apart."""
LEAST = 0.2
STEP = 16
"""Widths measured are multiples of this where there are several: a register of 512 bits, to which others are padded."""
_ROUNDS = (15, 60)
_SECONDS = 6.0
"""For timing two networks against each other, within the rounds above."""
_FAST = 20
"""Percentile of the times that is compared."""


def measure_table(graph: Graph, ctx: PassContext, profiler: Profiler) -> LatencyTable:
    """Time every node of narrowed copies of a graph; how many channels stay is all that matters, not which.

    Args:
        graph: not changed.
        ctx: knows its input shapes and what is protected; shows progress.
        profiler: times models.
    """
    full = clone(graph)
    split_shared(full)
    shapes = concrete_shapes(full, ctx.input_shapes)
    channels = map_channels(full, shapes, ctx.protected)
    feeds = timing_feeds(full, ctx)
    found: dict[str, dict[tuple[int, int], list[float]]] = {}
    rests = []
    choices = list(_widths(channels, ctx))
    for kept in ctx.progress(choices, "latency table", len(choices)):
        narrow = clone(full)
        if not kept.all():
            remove_channels(narrow, shapes, channels, kept)
            refresh(narrow)
        times, rest = by_node(narrow, profiler(to_proto(narrow), feeds))
        rests.append(rest)
        sizes = concrete_shapes(narrow, ctx.input_shapes)
        for node in narrow.nodes:
            if node.name in times:
                inputs, outputs = (_channels(sizes, tensor) for tensor in (node.inputs[0], node.outputs[0]))
                found.setdefault(node.name, {}).setdefault((inputs, outputs), []).append(times[node.name])
    layers = {
        name: tuple(WidthTime(*widths, round(float(np.median(ms)), 5)) for widths, ms in points.items())
        for name, points in found.items()
    }
    return LatencyTable(profiler.device, profiler.threads, round(float(np.median(rests)), 5), layers)


def by_node(graph: Graph, kernels: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """Milliseconds by node, and what belongs to none: kernels are named after nodes or tensors, with endings."""
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


def _noise(random: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    kind = np.dtype(dtype)
    return random.random(shape).astype(kind) if kind.kind == "f" else random.integers(0, 2, shape).astype(kind)


def _widths(channels: ChannelMap, ctx: PassContext) -> Iterable[Array]:
    """Which classes stay in each of the networks that are measured, shape [classes]."""
    random = ctx.random()
    count = len(channels.groups)
    shares = [np.full(count, share) for share in UNIFORM]
    shares += [random.uniform(LEAST, 1.0, count) for _ in range(MIXED)]
    for each in shares:
        kept = np.ones(channels.classes, dtype=bool)
        for group, share in zip(channels.groups, each, strict=True):
            size = len(group.classes)
            step = max(1, min(STEP // group.repeats, size // 4))
            some = max(step, round(share * size / step) * step)
            kept[group.classes[some:]] = False
        yield kept


def _channels(shapes: Shapes, tensor: Any) -> int:
    shape = shapes.of(tensor)
    return 0 if shape is None or len(shape) < 2 else shape[1]
