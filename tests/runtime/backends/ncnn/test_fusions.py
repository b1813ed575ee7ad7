"""Patterns that become one layer, and layers that take in the activation behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.networks.topologies import shuffle_groups
from tests.runtime.backends.ncnn.running import assert_same, ncnn_outputs, needs_ncnn
from yocc.compiler.graph import load
from yocc.runtime.backends.ncnn.backend import NcnnBackend
from yocc.runtime.backends.ncnn.format import read_network

SHAPE = (1, 4, 6, 6)


def _types(model: onnx.ModelProto, folder: Path) -> list[str]:
    backend = NcnnBackend()
    artifact = backend.build(load(model), backend.target({}), folder)
    network = read_network(artifact.model.read_text(), artifact.model.with_suffix(".bin").read_bytes())
    return [layer.type for layer in network.layers if layer.type not in ("Input", "Split")]


def _model(nodes: list, outputs: tuple[str, ...] = ("y",), opset: int = 18) -> onnx.ModelProto:
    weight = np.random.default_rng(0).normal(0, 0.3, (4, 4, 3, 3)).astype(np.float32)
    constants = {"w": weight, "low": np.float32(-0.5), "high": np.float32(0.7)}
    graph = helper.make_graph(
        nodes,
        "fused",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _feeds() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(1).normal(0, 2, SHAPE).astype(np.float32)}


CONV = helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1])


@needs_ncnn
@pytest.mark.parametrize(
    ("op", "constants", "attributes"),
    [
        ("Relu", [], {}),
        ("LeakyRelu", [], {"alpha": 0.3}),
        ("Clip", ["low", "high"], {}),
        ("Sigmoid", [], {}),
        ("Mish", [], {}),
        ("HardSwish", [], {}),
    ],
)
def test_activation_is_part_of_the_convolution(op: str, constants: list, attributes: dict, tmp_path: Path) -> None:
    model = _model([CONV, helper.make_node(op, ["c", *constants], ["y"], **attributes)])
    assert _types(model, tmp_path) == ["Convolution"]
    assert_same(model, _feeds(), 1e-4)


@needs_ncnn
def test_activation_stays_apart_where_the_sum_is_read_too(tmp_path: Path) -> None:
    model = _model([CONV, helper.make_node("Relu", ["c"], ["r"]), helper.make_node("Add", ["c", "r"], ["y"])])
    assert _types(model, tmp_path) == ["Convolution", "ReLU", "BinaryOp"]
    assert_same(model, _feeds(), 1e-4)


@needs_ncnn
def test_activation_stays_apart_behind_an_output(tmp_path: Path) -> None:
    model = _model([CONV, helper.make_node("Relu", ["c"], ["y"])], outputs=("c", "y"))
    assert _types(model, tmp_path) == ["Convolution", "ReLU"]
    assert_same(model, _feeds(), 1e-4)


@needs_ncnn
@pytest.mark.parametrize(
    ("gate", "attributes", "layer"), [("Sigmoid", {}, "Swish"), ("HardSigmoid", {"alpha": 1 / 6}, "HardSwish")]
)
@pytest.mark.parametrize("first", [True, False])
def test_gated_by_itself_is_one_layer(gate: str, attributes: dict, layer: str, first: bool, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node(gate, ["a"], ["g"], **attributes),
        helper.make_node("Mul", ["a", "g"] if first else ["g", "a"], ["y"]),
    ]
    assert _types(_model(nodes), tmp_path) == ["UnaryOp", layer]
    assert_same(_model(nodes), _feeds(), 1e-4)


@needs_ncnn
def test_gate_of_another_tensor_stays(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["g"]),
        helper.make_node("Mul", ["x", "g"], ["y"]),
    ]
    assert _types(_model(nodes), tmp_path) == ["UnaryOp", "Sigmoid", "BinaryOp"]
    assert_same(_model(nodes), _feeds(), 1e-4)


def test_channel_shuffle_is_one_layer(tmp_path: Path) -> None:
    types = _types(shuffle_groups(0), tmp_path)
    assert "ShuffleChannel" in types
    assert "Permute" not in types


@needs_ncnn
def test_swish_of_the_newest_opsets() -> None:
    model = _model([helper.make_node("Abs", ["x"], ["a"]), helper.make_node("Swish", ["a"], ["y"])], opset=24)
    model.ir_version = 11
    a = np.abs(_feeds()["x"])
    np.testing.assert_allclose(ncnn_outputs(model, _feeds())["y"], a / (1 + np.exp(-a)), rtol=0, atol=1e-5)
