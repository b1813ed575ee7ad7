from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tests import oracles
from tests.passes.graphs import build
from tests.samples import tiny_model
from yocc.compiler.graph import Graph, load, refresh, to_proto
from yocc.compiler.graph.verify import problems
from yocc.models.yolov5 import build_yolov5
from yocc.runtime.backends.channels_last import move_channels_last


def _graph() -> Graph:
    return load(build_yolov5("n", size=64))


@pytest.mark.slow
@pytest.mark.parametrize("divide", [False, True])
def test_heads_are_moved_and_their_values_stay(divide: bool) -> None:
    graph = _graph()
    feeds = {"images": np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)}
    wanted = oracles.run(to_proto(graph), feeds)["output0"]
    assert move_channels_last(graph, divide=divide) == 3
    assert problems(graph) == []
    np.testing.assert_array_equal(oracles.run(to_proto(graph), feeds)["output0"], wanted)


HEAD = [
    "r: b = Reshape(a, split)", "t: c = Transpose<perm=[0, 1, 3, 4, 2]>(b)", "s: y = Sigmoid(c)",
]  # fmt: skip
SPLIT = {"split": np.array([1, 2, 5, 8, 8])}


def test_each_anchor_of_a_quantized_head_gets_a_layer() -> None:
    random = np.random.default_rng(0)
    weights: dict[str, Any] = {
        **SPLIT,
        "w": random.integers(-127, 128, (10, 4, 1, 1)).astype(np.int8),
        "s": random.uniform(0.01, 0.02, 10).astype(np.float32),
        "z": np.zeros(10, np.int8),
        "v": random.normal(size=10).astype(np.float32),
    }
    graph = build(["d: k = DequantizeLinear<axis=0>(w, s, z)", "c: a = Conv(x, k, v)", *HEAD], weights, ["y"])
    refresh(graph)
    feeds = {"x": random.normal(size=(1, 4, 8, 8)).astype(np.float32)}
    wanted = oracles.run(to_proto(graph), feeds)["y"]
    assert move_channels_last(graph, divide=True) == 1
    assert problems(graph) == []
    np.testing.assert_allclose(oracles.run(to_proto(graph), feeds)["y"], wanted, rtol=0, atol=1e-6)
    layers = [node for node in graph.nodes if node.op == "Conv"]
    assert [node.inputs[1].inputs[0].inputs[0].shape for node in layers] == [(5, 4, 1, 1)] * 2
    assert [node.inputs[2].shape for node in layers] == [(5,)] * 2


def test_a_layer_that_is_read_elsewhere_stays_whole() -> None:
    graph = build(["c: a = Conv(x, w)", *HEAD, "e: z = Relu(a)"], {**SPLIT, "w": (10, 4, 1, 1)}, ["y", "z"])
    refresh(graph)
    feeds = {"x": np.random.default_rng(0).normal(size=(1, 4, 8, 8)).astype(np.float32)}
    wanted = oracles.run(to_proto(graph), feeds)
    assert move_channels_last(graph, divide=True) == 1
    assert [node.op for node in graph.nodes].count("Conv") == 1
    found = oracles.run(to_proto(graph), feeds)
    np.testing.assert_array_equal(found["y"], wanted["y"])


def test_moving_twice_moves_nothing() -> None:
    graph = _graph()
    move_channels_last(graph)
    assert move_channels_last(graph) == 0


def test_networks_without_such_heads_stay() -> None:
    graph = load(tiny_model())
    before = to_proto(graph)
    assert move_channels_last(graph) == 0
    assert to_proto(graph) == before


@pytest.mark.slow
def test_other_orders_stay() -> None:
    graph = _graph()
    for node in graph.nodes:
        if node.op == "Transpose":
            node.attrs["perm"] = [0, 2, 1, 3, 4]
    before = [node.name for node in graph.nodes]
    assert move_channels_last(graph) == 0
    assert [node.name for node in graph.nodes] == before


def test_open_sizes_stay(shared_data: object) -> None:
    model = onnx.load(f"{shared_data}/models/yolov5n_dynamic.onnx")
    assert move_channels_last(load(model)) == 0
