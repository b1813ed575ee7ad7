"""Measuring pairs of layers, at several ranks, next to the layers that they replace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args

import numpy as np

from yocc.analysis.ranks.layers import Form, Layer, find_layers
from yocc.analysis.ranks.spectra import Split
from yocc.analysis.timing import STEP, by_node, timing_feeds, widths_of
from yocc.compiler.graph import Graph, clone, refresh, to_proto
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.latency import LatencyTable, PairTime, WidthTime
from yocc.compiler.pipeline.passes import PassContext, Profiler
from yocc.rewrites.low_rank import split_layer

SHARES = (1.0, 0.75, 0.5, 0.25)
"""Ranks that are measured, as shares of the largest that saves parameters and MACs."""


def measure_pairs(graph: Graph, ctx: PassContext, profiler: Profiler) -> LatencyTable:
    """Time every layer as a pair in each form at several ranks; which components it computes does not matter.

    The network as it is runs before each round of forms, so that a layer and its pairs are measured close together.
    The table has the layers at their own widths only.

    Args:
        graph: not changed.
        ctx: knows its input shapes and the multiple of ranks that the target wants; shows progress.
        profiler: times models.
    """
    shapes = concrete_shapes(graph, ctx.input_shapes)
    layers, _ = find_layers(graph, shapes)
    feeds, found = timing_feeds(graph, ctx), dict[str, list[PairTime]]()
    runs: list[dict[str, float]] = []
    rests: list[float] = []
    rounds = list(_rounds(layers, ctx.target.channel_multiple))
    for form, ranks in ctx.progress(rounds, "pairs", len(rounds)):
        if form == "outputs":
            own, rest = by_node(graph, profiler(to_proto(clone(graph)), feeds))
            runs.append(own)
            rests.append(rest)
        pairs, firsts = with_pairs(graph, ctx, {name: (form, rank) for name, rank in ranks.items()})
        times, _ = by_node(pairs, profiler(to_proto(pairs), feeds))
        for name, rank in ranks.items():
            parts = times.get(firsts[name], 0.0), times.get(name, 0.0), runs[-1].get(name, 0.0)
            # A runtime that merges either with something else says nothing of the pair.
            if min(parts) > 0:
                found.setdefault(name, []).append(PairTime(form, rank, *(round(each, 5) for each in parts)))
    whole = {
        node.name: (WidthTime(*widths_of(shapes, node), _middle([own[node.name] for own in runs if node.name in own])),)
        for node in graph.nodes
        if node.name in runs[0]
    }
    pairs_of = {name: tuple(points) for name, points in found.items()}
    return LatencyTable(profiler.device, profiler.threads, _middle(rests), whole, pairs_of)


def with_pairs(graph: Graph, ctx: PassContext, ranks: Mapping[str, tuple[Form, int]]) -> tuple[Graph, dict[str, str]]:
    """A copy in which layers are pairs of arbitrary weights, which take the time that any others do.

    Args:
        graph: not changed.
        ctx: knows its input shapes; its seed is that of the weights.
        ranks: form and rank by layer.

    Returns:
        The copy, and the name of the first of the two layers by the name of the layer, which the second one has.
    """
    changed = clone(graph)
    layers, _ = find_layers(changed, concrete_shapes(changed, ctx.input_shapes))
    random = ctx.random()
    firsts = {
        name: split_layer(changed, layers[name], _arbitrary(layers[name], form, rank, random)).name
        for name, (form, rank) in ranks.items()
    }
    refresh(changed)
    return changed, firsts


def rank_step(layer: Layer, form: Form, multiple: int) -> int:
    """What ranks are multiples of where time counts.

    It is that of the widths in a table where that leaves a choice, or else what the target wants, or less for layers
    that cannot have such a rank.
    """
    most = layer.most_rank(form)
    step = max(multiple, STEP)
    if most >= 2 * step:
        return step
    return multiple if most >= multiple else max(1, most // 2)


def _middle(milliseconds: list[float]) -> float:
    return round(float(np.median(milliseconds)), 5)


def _rounds(layers: Mapping[str, Layer], multiple: int) -> Iterator[tuple[Form, dict[str, int]]]:
    """Ranks for all layers that have a form, round by round."""
    for share in SHARES:
        for form in get_args(Form):
            ranks = {}
            for name, layer in layers.items():
                most = layer.most_rank(form) if form in layer.places else 0
                if most:
                    step = rank_step(layer, form, multiple)
                    ranks[name] = min(max(round(share * most / step), 1), most // step) * step
            if ranks or form == "outputs":
                yield form, ranks


def _arbitrary(layer: Layer, form: Form, rank: int, random: np.random.Generator) -> Split:
    """Weights of a pair that keep values about as large as they are."""
    first: tuple[int, ...] = (rank, layer.inputs)
    second: tuple[int, ...] = (layer.outputs, rank)
    if form != "outputs":
        _, channels, height, width = layer.node.inputs[1].shape
        own, other = (height, width) if form == "vertical" else (width, height)
        first, second = (rank, channels, own), (layer.outputs, rank, other)
    weights = [random.normal(0, np.prod(shape[1:]) ** -0.5, shape) for shape in (first, second)]
    return Split(form, weights[0], weights[1], np.zeros(layer.outputs))
