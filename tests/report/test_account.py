from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.samples import tiny_model
from yocc.compiler.graph import load
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.report.account import LayerState, layer_names, layer_reports, layer_states, without_layers


def _model(op: str, weight: tuple[int, ...], shape: list[int], slot: int = 1, **attributes: object) -> onnx.ModelProto:
    inputs = ["x", "w"] if slot == 1 else ["w", "x"]
    node = helper.make_node(op, inputs, ["y"], name="layer", **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(weight, np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _states(model: onnx.ModelProto) -> dict[tuple[str, str], LayerState]:
    graph = load(model)
    return dict(layer_states(graph, concrete_shapes(graph)))


@pytest.mark.parametrize(
    ("model", "channels"),
    [
        (_model("Conv", (8, 3, 1, 1), [1, 3, 4, 4]), (3, 8)),
        (_model("Conv", (8, 1, 3, 3), [1, 4, 4, 4], group=4), (4, 8)),
        (_model("ConvTranspose", (3, 5, 2, 2), [1, 3, 4, 4]), (3, 5)),
        (_model("ConvTranspose", (4, 5, 2, 2), [1, 4, 4, 4], group=2), (4, 10)),
        (_model("Gemm", (3, 7), [2, 3]), (3, 7)),
        (_model("Gemm", (7, 3), [2, 3], transB=1), (3, 7)),
        (_model("MatMul", (3, 7), [2, 3]), (3, 7)),
        (_model("MatMul", (7, 3), [3, 2], slot=0), (3, 7)),
    ],
)
def test_channels_are_those_of_the_weight(model: onnx.ModelProto, channels: tuple[int, int]) -> None:
    (state,) = _states(model).values()
    assert (state.channels_in, state.channels_out) == channels
    assert (state.weights, state.activations) == ("float32", "float32")


def test_layers_without_a_weight_matrix_have_no_channels() -> None:
    states = _states(tiny_model())
    assert list(states) == [("first", "Conv"), ("norm", "BatchNormalization"), ("last", "Conv")]
    norm = states["norm", "BatchNormalization"]
    assert (norm.channels_in, norm.channels_out, norm.parameters, norm.macs) == (None, None, 32, 0)


def test_types_are_those_of_the_codes() -> None:
    weight = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.int8), "codes")
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    zero = numpy_helper.from_array(np.uint8(0), "zero")
    make = helper.make_node
    nodes = [
        make("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="q"),
        make("DequantizeLinear", ["q", "scale", "zero"], ["d"], name="d"),
        make("DequantizeLinear", ["codes", "scale"], ["w"], name="w"),
        make("Conv", ["d", "w"], ["y"], name="layer"),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "quantized",
        [info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [info("y", TensorProto.FLOAT, None)],
        [weight, scale, zero],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (state,) = _states(model).values()
    assert (state.weights, state.activations) == ("int8", "uint8")


def test_both_models_and_what_passes_said_come_together() -> None:
    one, other = LayerState(3, 8, 24, 100, "float32", "float32"), LayerState(3, 4, 12, 50, "int8", "uint8")
    before = {("a", "Conv"): one, ("gone", "BatchNormalization"): one}
    after = {("a", "Conv"): other, ("new", "Conv"): other}
    details = {
        "prune": {"layers": {"a": {"kept": 4}}, "skipped": {"new": "as it was"}},
        "odd": 7,
        "list": {"layers": ["a"]},
    }
    a, gone, new = layer_reports(before, after, details)
    assert (a.before, a.after, a.figures, a.skipped) == (one, other, {"prune": {"kept": 4}}, {})
    assert (gone.name, gone.before, gone.after) == ("gone", one, None)
    assert (new.before, new.after, new.skipped) == (None, other, {"prune": "as it was"})


def test_a_layer_that_became_another_operator_is_two_layers() -> None:
    state = LayerState(3, 8, 24, 100, "float32", "float32")
    first, second = layer_reports({("a", "Gemm"): state}, {("a", "Conv"): state}, {})
    assert (first.op, first.after, second.op, second.before) == ("Gemm", None, "Conv", None)


def test_figures_of_layers_stand_at_the_layers_only() -> None:
    assert without_layers({"layers": {"a": {}}, "skipped": {}, "multiple": 8}) == {"multiple": 8}
    assert without_layers({"layers": 3}) == {"layers": 3}
    assert without_layers(7) == 7


def test_layers_are_known_by_what_fuses_into_them() -> None:
    assert layer_names(load(tiny_model())) == {
        **dict.fromkeys(("first", "c1", "n1", "r1"), "first"),
        **dict.fromkeys(("last", "y"), "last"),
    }


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_layers_may_leave_out_their_hidden_size(op: str, gates: int) -> None:
    weights = {"w": (1, gates * 6, 5), "r": (1, gates * 6, 6)}
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w", "r"], ["y"], name="layer")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 1, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (state,) = _states(model).values()
    assert (state.channels_in, state.channels_out) == (5, 6)
