from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests import oracles
from tests.samples import tiny_model
from yocc.compiler.graph import Graph, load, to_proto
from yocc.compiler.graph.verify import problems
from yocc.models.yolov5 import build_yolov5
from yocc.runtime.backends.channels_last import move_channels_last


def _graph() -> Graph:
    return load(build_yolov5("n", size=64))


@pytest.mark.slow
def test_heads_are_moved_and_their_values_stay() -> None:
    graph = _graph()
    feeds = {"images": np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)}
    wanted = oracles.run(to_proto(graph), feeds)["output0"]
    assert move_channels_last(graph) == 3
    assert problems(graph) == []
    np.testing.assert_array_equal(oracles.run(to_proto(graph), feeds)["output0"], wanted)


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
