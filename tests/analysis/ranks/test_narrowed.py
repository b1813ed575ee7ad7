from __future__ import annotations

import numpy as np
import pytest

from tests.passes.feeding import context, smooth
from tests.passes.graphs import build
from yocc.analysis.ranks.layers import find_layers
from yocc.analysis.ranks.narrowed import Width, narrowed
from yocc.analysis.ranks.spectra import spectra_on_pictures
from yocc.compiler.graph import Graph, clone, to_proto
from yocc.compiler.graph.shapes import concrete_shapes

NODES = ["c: a = Conv<pads = [1, 1, 1, 1]>(x, w, b)", "s: t = Sigmoid(a)", "d: y = Conv<pads = [1, 1, 1, 1]>(t, v)"]


def network() -> Graph:
    random = np.random.default_rng(0)
    weights = {"w": (8, 4, 3, 3), "b": (8,), "v": random.normal(0, 0.2, (6, 8, 3, 3)).astype(np.float32)}
    return build(NODES, weights, ["y"])


def test_a_layer_that_keeps_all_loses_the_same() -> None:
    graph = network()
    ctx = context(feeds=smooth(to_proto(graph), 4))
    shapes = concrete_shapes(graph)
    layers, _ = find_layers(graph, shapes)
    assert ctx.feeds is not None
    spectra, _ = spectra_on_pictures(graph, shapes, layers, ctx.feeds, ctx, count=4)
    same = narrowed(spectra, layers, {"d": Width(np.arange(8), np.arange(6))})
    for name in layers:
        for form, lost in spectra[name].losses().items():
            np.testing.assert_array_equal(same[name].losses()[form], lost)


def test_channels_that_give_nothing_are_no_loss() -> None:
    """Of the kernel that reads them, and of the layer that makes them."""
    graph = network()
    node = next(node for node in graph.nodes if node.name == "c")
    weight, bias, reader = node.inputs[1].values.copy(), node.inputs[2].values.copy(), graph.nodes[2].inputs[1].values
    weight[3:5], bias[3:5] = 0, 0
    node.inputs[1].values, node.inputs[2].values = weight, bias
    graph.nodes[2].inputs[1].values = np.where(np.isin(np.arange(8), [3, 4])[None, :, None, None], 0, reader)
    ctx = context(feeds=smooth(to_proto(graph), 4))
    shapes = concrete_shapes(graph)
    layers, _ = find_layers(graph, shapes)
    assert ctx.feeds is not None
    spectra, _ = spectra_on_pictures(graph, shapes, layers, ctx.feeds, ctx, count=4)
    narrow, left = clone(graph), np.array([0, 1, 2, 5, 6, 7])
    nodes = {node.name: node for node in narrow.nodes}
    nodes["c"].inputs[1].values, nodes["c"].inputs[2].values = weight[left], bias[left]
    nodes["d"].inputs[1].values = nodes["d"].inputs[1].values[:, left]
    after, _ = find_layers(narrow, shapes)
    found = narrowed(spectra, after, {"c": Width(None, left), "d": Width(left, None)})
    for form, lost in spectra["d"].losses().items():
        shorter = found["d"].losses()[form]
        assert shorter == pytest.approx(lost[: len(shorter)], rel=2e-2, abs=1e-3 * lost[0])
    assert found["c"].losses()["outputs"] == pytest.approx(spectra["c"].losses()["outputs"][:7], rel=1e-3, abs=1e-6)


def test_a_layer_that_was_not_measured_is_left_out() -> None:
    graph = network()
    layers, _ = find_layers(graph, concrete_shapes(graph))
    assert narrowed({}, layers, {}) == {}
