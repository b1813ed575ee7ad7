"""Measuring a network's layers at several widths."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from yocc.analysis.coupling.channels import ChannelMap, map_channels
from yocc.analysis.timing import STEP, by_node, timing_feeds, widths_of
from yocc.compiler.graph import Graph, clone, refresh, to_proto
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.latency import LatencyTable, WidthTime
from yocc.compiler.pipeline.passes import PassContext, Profiler
from yocc.passes.prune.remove import remove_channels, split_shared

Array = np.ndarray[Any, Any]
UNIFORM = (1.0, 0.75, 0.5, 0.25)
"""Widths of all layers alike."""
MIXED = 8
"""Networks in which each group of channels has a width of its own, so that inputs and outputs vary apart."""
LEAST = 0.2


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
                found.setdefault(node.name, {}).setdefault(widths_of(sizes, node), []).append(times[node.name])
    layers = {
        name: tuple(WidthTime(*widths, round(float(np.median(ms)), 5)) for widths, ms in points.items())
        for name, points in found.items()
    }
    return LatencyTable(profiler.device, profiler.threads, round(float(np.median(rests)), 5), layers)


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
