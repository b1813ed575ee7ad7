from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.oracles import assert_same_function, random_feeds
from tests.passes.graphs import Value, build
from yocc.compiler.graph import Graph, refresh, to_proto, verify
from yocc.passes.simplify.resize import constant_scales

RESIZE = 'r: y = Resize<mode="{mode}", coordinate_transformation_mode="{place}">(x, , , sizes)'
DYNAMIC: list[int | str] = ["n", 4, "h", "w"]


def resize(mode: str = "nearest", place: str = "asymmetric") -> str:
    return RESIZE.format(mode=mode, place=place)


def scales(graph: Graph) -> list[float] | None:
    node = next(node for node in graph.nodes if node.op == "Resize")
    return node.inputs[2].values.tolist() if len(node.inputs) == 3 else None


PYTORCH_CHAIN = [
    "s1: shape = Shape(x)",
    "g2: h = Gather<axis=0>(shape, two)",
    "c2: hf = Cast<to=1>(h)",
    "m2: h2 = Mul(hf, factor)",
    "f2: h3 = Floor(h2)",
    "u2: h4 = Unsqueeze(h3, zero)",
    "g3: w = Gather<axis=0>(shape, three)",
    "c3: wf = Cast<to=1>(w)",
    "m3: w2 = Mul(wf, factor)",
    "f3: w3 = Floor(w2)",
    "u3: w4 = Unsqueeze(w3, zero)",
    "k: hw = Concat<axis=0>(h4, w4)",
    "ci: hwi = Cast<to=7>(hw)",
    "sl: nc = Slice(shape, zero, twos, zero)",
    "kk: sizes = Concat<axis=0>(nc, hwi)",
]
POSITIONS: dict[str, Value] = {"zero": [0], "two": np.array(2), "three": np.array(3), "twos": [2]}


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("place", ["asymmetric", "half_pixel", "align_corners"])
def test_shape_times_two_becomes_scales(mode: str, place: str) -> None:
    graph = build([*PYTORCH_CHAIN, resize(mode, place)], POSITIONS | {"factor": np.float32(2)}, ["y"], shape=DYNAMIC)
    before = to_proto(graph)
    assert constant_scales(graph) == 1
    refresh(graph)
    assert [node.op for node in graph.nodes] == ["Resize"]
    assert scales(graph) == [1, 1, 2, 2]
    assert verify.problems(graph) == []
    for side in (7, 10):
        feeds = {"x": np.random.default_rng(0).random((2, 4, side, 5), np.float32)}
        assert_same_function(before, to_proto(graph), tolerance=0, feeds=feeds)
    assert constant_scales(graph) == 0


@pytest.mark.parametrize("factor", [1.5, 0.5, 1 / 3])
def test_factor_that_rounds_sizes_is_left_alone(factor: float) -> None:
    graph = build([*PYTORCH_CHAIN, resize()], POSITIONS | {"factor": np.float32(factor)}, ["y"], shape=DYNAMIC)
    assert constant_scales(graph) == 0


def test_sizes_given_as_numbers_become_scales() -> None:
    graph = build([resize("linear", "half_pixel")], {"sizes": [1, 4, 16, 12]}, ["y"])
    before = to_proto(graph)
    assert constant_scales(graph) == 1
    refresh(graph)
    assert scales(graph) == [1, 1, 2, 1.5]
    assert_same_function(before, to_proto(graph), tolerance=0)


def test_sizes_that_are_no_exact_multiple_stay() -> None:
    graph = build([resize()], {"sizes": [1, 4, 7, 16]}, ["y"], shape=[1, 4, 6, 8])
    assert constant_scales(graph) == 0


def test_numbers_for_open_dimensions_stay() -> None:
    graph = build([resize()], {"sizes": [1, 4, 16, 16]}, ["y"], shape=DYNAMIC)
    assert constant_scales(graph) == 0


def test_shape_of_another_tensor_is_not_taken_for_the_own() -> None:
    nodes = ["p: small = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x)", "s: sizes = Shape(x)",
             resize().replace("Resize", "Resize").replace("(x,", "(small,")]  # fmt: skip
    graph = build(nodes, {}, ["y"], shape=DYNAMIC)
    assert constant_scales(graph) == 0


def test_swapped_height_and_width_stay() -> None:
    nodes = ["s: shape = Shape(x)", "g: sizes = Gather<axis=0>(shape, order)", resize()]
    graph = build(nodes, {"order": [0, 1, 3, 2]}, ["y"], shape=DYNAMIC)
    assert constant_scales(graph) == 0


def test_scales_computed_as_a_quotient_become_constant() -> None:
    nodes = [
        "s: shape = Shape(x)", "f: before = Cast<to=1>(shape)", "m: after = Mul(before, factors)",
        "d: scales = Div(after, before)", 'r: y = Resize<mode="nearest">(x, , scales)',
    ]  # fmt: skip
    graph = build(nodes, {"factors": np.array([1, 1, 2, 4], np.float32)}, ["y"], shape=DYNAMIC)
    before = to_proto(graph)
    assert constant_scales(graph) == 1
    refresh(graph)
    assert scales(graph) == [1, 1, 2, 4]
    assert_same_function(before, to_proto(graph), tolerance=0)


def test_sizes_that_keep_the_aspect_ratio_stay() -> None:
    line = 'r: y = Resize<mode="nearest", keep_aspect_ratio_policy="not_larger">(x, , , sizes)'
    graph = build([line], {"sizes": [1, 4, 16, 16]}, ["y"], opset=18)
    assert constant_scales(graph) == 0


def test_opset_11_keeps_its_region_input() -> None:
    line = 'r: y = Resize<mode="nearest">(x, roi, none, sizes)'
    empty = np.zeros(0, np.float32)
    graph = build([line], {"sizes": [1, 4, 16, 16], "roi": empty, "none": empty}, ["y"], opset=11)
    before = to_proto(graph)
    assert constant_scales(graph) == 1
    refresh(graph)
    assert verify.problems(graph) == []
    assert_same_function(before, to_proto(graph), tolerance=0, feeds=random_feeds(before, 1))
    onnx.checker.check_model(to_proto(graph), full_check=True)
