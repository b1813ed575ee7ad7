from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest

from tests.passes.factorize.networks import separable, wide
from tests.passes.feeding import Trial, context
from tests.passes.graphs import build
from yocc.analysis.ranks.layers import find_layers
from yocc.compiler.graph import load, verify
from yocc.compiler.graph.cost import layer_costs
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import Arrays
from yocc.compiler.pipeline.target import Target
from yocc.passes.factorize.timing import SHARES, measure_pairs, rank_step, with_pairs


class ByMacs:
    """A device on which each MAC takes a microsecond, and which slows down from model to model."""

    device, threads = "a counting device", 1

    def __init__(self, merged: str = "") -> None:
        self.speed, self.merged = 1.0, merged

    def __call__(self, model: onnx.ModelProto, inputs: Arrays) -> Mapping[str, float]:  # noqa: ARG002 # the protocol's
        graph = load(model)
        self.speed *= 1.01
        costs = layer_costs(graph, concrete_shapes(graph))
        return {cost.node: self.speed * cost.macs / 1e3 for cost in costs if cost.node != self.merged}


def trial(multiple: int = 2) -> Trial:
    return context(Target("test", channel_multiple=multiple))


def test_pairs_are_measured_beside_their_layers_in_every_form() -> None:
    graph = load(separable())
    layers, _ = find_layers(graph, concrete_shapes(graph))
    pairs = measure_pairs(graph, trial(), ByMacs()).pairs
    assert set(pairs) == set(layers)
    assert {point.form for point in pairs["b"]} == {"outputs", "vertical", "horizontal"}
    assert {point.form for point in pairs["last"]} == {"outputs"}
    for name, points in pairs.items():
        layer = layers[name]
        assert len(points) == len({point.form for point in points}) * len(SHARES)
        for point in points:
            assert 0 < point.rank <= layer.most_rank(point.form)
            biases = layer.cost_at(point.form, 0).macs
            wanted = (layer.cost_at(point.form, point.rank).macs - biases) / layer.cost.macs
            # Three models later at most, of which each is slower by a percent.
            assert point.share == pytest.approx(wanted, rel=0.035)


def test_what_a_runtime_merges_is_left_out() -> None:
    graph = load(wide())
    assert "b" not in measure_pairs(graph, trial(), ByMacs("b")).pairs
    assert "b" not in measure_pairs(graph, trial(), ByMacs("b_low_rank")).pairs


def test_the_graph_stays_and_the_copy_is_sound() -> None:
    graph = load(separable())
    changed, firsts = with_pairs(graph, trial(), {"a": ("outputs", 3), "b": ("horizontal", 5)})
    assert verify.problems(changed) == []
    assert len(changed.nodes) == len(graph.nodes) + 2
    first = next(node for node in changed.nodes if node.name == firsts["b"])
    assert first.inputs[1].shape == (5, 16, 1, 3)
    assert all(np.isfinite(node.inputs[1].values).all() for node in changed.nodes if node.op == "Conv")


def test_ranks_are_in_steps_of_registers_where_that_leaves_a_choice() -> None:
    graph = build(["c: a = Conv(x, w)", "d: y = Conv(a, v)"], {"w": (64, 4, 3, 3), "v": (8, 64, 3, 3)}, ["y"])
    layers, _ = find_layers(graph, concrete_shapes(graph))
    assert layers["c"].most_rank("outputs") < 32
    assert rank_step(layers["c"], "outputs", 8) == 8
    assert rank_step(layers["d"], "vertical", 8) == 8
    assert rank_step(layers["d"], "outputs", 8) == 3
    wider = build(["c: a = Conv(x, w)", "d: y = Conv(a, v)"], {"w": (64, 4, 3, 3), "v": (64, 64, 3, 3)}, ["y"])
    assert rank_step(find_layers(wider, concrete_shapes(wider))[0]["d"], "outputs", 8) == 16


def test_layers_stand_in_the_table_at_their_own_widths() -> None:
    table = measure_pairs(load(wide()), trial(), ByMacs())
    (point,) = table.layers["b"]
    assert (point.inputs, point.outputs) == (16, 16)
    assert point.ms == pytest.approx(16 * 16 * 9 * 256 / 1e3, rel=0.2)
    assert (table.device, table.threads, table.rest) == ("a counting device", 1, 0.0)
