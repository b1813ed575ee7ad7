from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.compiler.graph.models import build, value, weight
from tests.passes.feeding import run_pass
from yocc.compiler.graph import load, to_proto
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.passes import Simplify
from yocc.report.account import layer_states


@pytest.mark.parametrize("steps", [["Identity"], ["Cast", "Identity"], ["Cast"]])
def test_a_weight_behind_what_keeps_its_shape_is_counted(steps: list[str]) -> None:
    attributes = {"Cast": {"to": 1}}
    nodes, last = [], "w"
    for place, op in enumerate(steps):
        nodes.append(helper.make_node(op, [last], [f"w{place}"], **attributes.get(op, {})))
        last = f"w{place}"
    nodes.append(helper.make_node("Conv", ["x", last], ["y"], name="conv"))
    model = build(nodes, [value("x", [1, 3, 8, 8])], [value("y", None)], [weight("w", 4, 3, 3, 3)])
    graph = load(model)
    (layer,) = layer_costs(graph, concrete_shapes(graph))
    assert (layer.node, layer.parameters, layer.macs) == ("conv", 108, 108 * 36)


def test_a_weight_behind_several_identities_counts_once() -> None:
    nodes = [helper.make_node("Identity", ["w"], [f"w{place}"]) for place in range(2)]
    nodes += [helper.make_node("MatMul", ["x", f"w{place}"], [f"y{place}"]) for place in range(2)]
    matrix = numpy_helper.from_array(np.ones((8, 8), np.float32), "w")
    graph = load(build(nodes, [value("x", [1, 8])], [value("y0", [1, 8]), value("y1", [1, 8])], [matrix]))
    cost = totals(layer_costs(graph, concrete_shapes(graph)))
    assert (cost.parameters, cost.macs) == (64, 128)


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_networks_are_counted(op: str, gates: int) -> None:
    """Both directions multiply both matrices at each of 5 steps of 2 sequences; initial states are not trained."""
    sizes = {"w": (2, gates * 4, 6), "r": (2, gates * 4, 4), "b": (2, gates * 8), "h": (2, 2, 4)}
    node = helper.make_node(
        op, ["x", "w", "r", "b", "", "h"], ["", "y"], name="rnn", hidden_size=4, direction="bidirectional"
    )
    weights = [weight(name, *shape) for name, shape in sizes.items()]
    graph = load(build([node], [value("x", [5, 2, 6])], [value("y", None)], weights))
    (layer,) = layer_costs(graph, concrete_shapes(graph))
    matrices = 2 * gates * 4 * (6 + 4)
    assert (layer.node, layer.op, layer.weight_shape) == ("rnn", op, sizes["w"])
    assert (layer.parameters, layer.macs) == (matrices + 2 * gates * 8, matrices * 10)
    ((_, state),) = layer_states(graph, concrete_shapes(graph)).items()
    assert (state.channels_in, state.channels_out, state.weights) == (6, 8, "float32")


def test_embeddings_are_counted() -> None:
    nodes = [helper.make_node("Gather", ["table", "x"], ["e"], name="words")]
    nodes += [helper.make_node("Gather", ["e", "two"], ["y"], axis=1)]
    two = numpy_helper.from_array(np.array([1, 0], np.int64), "two")
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.INT64, [1, 7])]
    graph = load(build(nodes, inputs, [value("y", None)], [weight("table", 100, 8), two]))
    (layer,) = layer_costs(graph, concrete_shapes(graph))
    assert (layer.node, layer.parameters, layer.macs, layer.weight_shape) == ("words", 800, 0, (100, 8))
    ((_, state),) = layer_states(graph, concrete_shapes(graph)).items()
    assert state.weights == "float32"


def test_weights_computed_from_constants_count_before_they_are_folded() -> None:
    """A weight norm: direction times length, which `simplify` folds into one weight."""
    nodes = [
        helper.make_node("Mul", ["direction", "length"], ["w"]),
        helper.make_node("Transpose", ["m"], ["mt"], perm=[1, 0]),
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("MatMul", ["c", "mt"], ["y"], name="product"),
    ]
    weights = [weight("direction", 4, 3, 3, 3), weight("length", 4, 1, 1, 1), weight("m", 5, 6)]
    graph = load(build(nodes, [value("x", [1, 3, 8, 8])], [value("y", None)], weights))
    layers = layer_costs(graph, concrete_shapes(graph))
    assert [(layer.parameters, layer.macs) for layer in layers] == [(108, 108 * 36), (30, 30 * 24)]
    simplified = load(to_proto(graph))
    run_pass(Simplify(), simplified, PassContext(Target("test")))
    after = layer_costs(simplified, concrete_shapes(simplified))
    assert totals(after) == totals(layers)
