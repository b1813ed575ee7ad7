from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import yocc
from tests import oracles
from tests.passes.graphs import build
from tests.samples import tiny_model
from yocc.compiler.graph import Graph, load, refresh, to_proto
from yocc.compiler.graph.verify import problems
from yocc.models.yolov5 import build_yolov5
from yocc.runtime.backends.byte_inputs import quantize_bytes
from yocc.runtime.backends.openvino import OpenVinoBackend

CODED = {"s": np.array(1 / 255, np.float32), "z": np.array(0, np.uint8), "w": (2, 8, 1, 1)}


def _bytes() -> Graph:
    nodes = [
        "b: u = Cast<to=2>(x)", "t: v = Transpose<perm=[0, 3, 1, 2]>(u)", "d: f = DequantizeLinear(v, s, z)",
        "c: y = Conv(f, w)",
    ]  # fmt: skip
    graph = build(nodes, CODED, ["y"])
    refresh(graph)
    # As a model that takes bytes.
    cast = next(node for node in graph.nodes if node.op == "Cast")
    graph.inputs[0].dtype, moved = np.uint8, next(node for node in graph.nodes if node.op == "Transpose")
    moved.inputs[0] = graph.inputs[0]
    cast.outputs.clear()
    refresh(graph)
    return graph


def test_all_codes_stay() -> None:
    graph = _bytes()
    feeds = {"x": np.arange(256, dtype=np.uint8).reshape(1, 4, 8, 8)}
    wanted = oracles.run(to_proto(graph), feeds)["y"]
    assert quantize_bytes(graph) == 1
    assert problems(graph) == []
    np.testing.assert_array_equal(oracles.run(to_proto(graph), feeds)["y"], wanted)
    layer = next(node for node in graph.nodes if node.op == "Conv")
    assert layer.inputs[0].inputs[0].inputs[0].inputs[0].op == "QuantizeLinear"


def test_graphs_that_read_floats_stay() -> None:
    graph = load(tiny_model())
    assert quantize_bytes(graph) == 0


@pytest.mark.slow
@pytest.mark.skipif(OpenVinoBackend().available() is not None, reason="needs openvino")
def test_a_detector_that_takes_bytes_computes_its_first_layer_in_int8(tmp_path: Path) -> None:
    report = yocc.compile(
        build_yolov5("n", size=64), int8=True, target="openvino", input="uint8,nhwc", count=4, bench=False,
        out=tmp_path / "out",
    )  # fmt: skip
    assert report.measured["execution"]["float_convolutions"] == []
