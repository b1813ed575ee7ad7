from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.compiler.graph.models import build, value
from tests.passes import graphs
from yocc.analysis.coupling.channels import map_channels
from yocc.compiler.graph import load, skeleton
from yocc.compiler.graph.propagation import is_bounded
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.models.yolov5 import build_yolov5


def _doubled(times: int) -> onnx.ModelProto:
    """x plus the largest value of a vector that is joined to itself again and again."""
    nodes = [helper.make_node("Concat", [f"d{i}", f"d{i}"], [f"d{i + 1}"], axis=0) for i in range(times)]
    nodes += [
        helper.make_node("ReduceMax", [f"d{times}"], ["r"], keepdims=0),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    return build(
        nodes, [value("x", [3])], [value("y", None)], [numpy_helper.from_array(np.array([1.0], np.float32), "d0")]
    )


def test_vectors_that_double_are_found() -> None:
    assert is_bounded(_doubled(16).graph)
    assert not is_bounded(_doubled(17).graph)


def test_a_model_that_doubles_a_vector_forty_times_is_loaded_and_looked_at() -> None:
    graph = load(_doubled(40))
    shapes = concrete_shapes(graph)
    assert shapes.shapes["d40"] == (2**40,)
    assert map_channels(graph, shapes).groups == ()


def test_features_that_are_joined_are_not_propagated() -> None:
    """DenseNet joins all features before, which are computed at run time and no constants."""
    nodes = []
    for i in range(40):
        nodes += [
            helper.make_node("Relu", [f"d{i}"], [f"c{i}"]),
            helper.make_node("Concat", [f"d{i}", f"c{i}"], [f"d{i + 1}"], axis=1),
        ]
    model = build(nodes, [value("d0", [1, 1])], [value("d40", None)])
    assert is_bounded(model.graph)
    assert is_bounded(build_yolov5("n", size=32).graph)


@pytest.mark.parametrize(
    "first", ["d0 = ConstantOfShape(one)", "d0 = Expand(v, one)", "d0 = Tile(v, one)", "d0 = Relu(v)"]
)
def test_vectors_of_which_only_the_length_is_known_are_followed_too(first: str) -> None:
    lines = [f"f: {first}", *(f"d{i}: d{i + 1} = Concat<axis = 0>(d{i}, d{i})" for i in range(40))]
    graph = graphs.build([*lines, "y: y = ReduceMax<keepdims = 0>(d40)"], {"one": [1], "v": (1,)}, ["y"])
    assert concrete_shapes(graph).shapes["d40"] == (2**40,)


@pytest.mark.parametrize(
    ("reader", "bounded"),
    [("Neg(d)", True), ("Mul(d, d)", False), ("Cast<to = 1>(d)", False), ("Concat<axis = 0>(d, d)", False)],
)
def test_a_long_vector_is_a_matter_of_who_looks_at_it(reader: str, bounded: bool) -> None:
    graph = graphs.build(["d: d = ConstantOfShape(n)", f"r: y = {reader}"], {"n": [2**22]}, ["y"])
    inferred = onnx.shape_inference.infer_shapes(skeleton(graph))
    assert is_bounded(inferred.graph) is bounded
