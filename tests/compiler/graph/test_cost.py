from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests.compiler.graph.models import build, value, weight
from yocc.compiler.graph import load
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes


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
