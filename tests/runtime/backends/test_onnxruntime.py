from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import yocc.runtime.backends.onnxruntime as under_test
from tests import oracles
from tests.samples import strange_model, tiny_feed, tiny_model
from yocc.errors import BackendError, OptionError
from yocc.runtime.backends.backend import Backend
from yocc.runtime.backends.onnxruntime import (
    COMPUTES_ON_CODES,
    MOVES_CODES,
    OnnxRuntimeBackend,
    OnnxRuntimeSession,
    cores,
    one_sentence,
    reference_executor,
    session_of,
)
from yocc.testing import BackendContract

CONSTANTS = {
    "scale": np.float32(0.02),
    "zero": np.uint8(0),
    "shape": np.array([1, -1], np.int64),
    "axis0": np.array([0], np.int64),
    "start": np.array([0], np.int64),
    "end": np.array([4], np.int64),
    "axis1": np.array([1], np.int64),
    "roi": np.zeros(0, np.float32),
    "double": np.array([1, 1, 2, 2], np.float32),
    "low": np.float32(0),
    "high": np.float32(5.1),
}
# operator: number of quantized inputs, further inputs, attributes, input shape
UNWEIGHTED = {
    "Add": (2, [], {}),
    "Mul": (2, [], {}),
    "Sigmoid": (1, [], {}),
    "LeakyRelu": (1, [], {}),
    "Softmax": (1, [], {}),
    "AveragePool": (1, [], {"kernel_shape": [2, 2]}),
    "GlobalAveragePool": (1, [], {}),
    "Concat": (2, [], {"axis": 1}),
    "Relu": (1, [], {}),
    "Clip": (1, ["low", "high"], {}),
    "MaxPool": (1, [], {"kernel_shape": [2, 2]}),
    "Resize": (1, ["roi", "double"], {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}),
    "Reshape": (1, ["shape"], {}),
    "Flatten": (1, [], {}),
    "Transpose": (1, [], {"perm": [0, 2, 3, 1]}),
    "Squeeze": (1, ["axis0"], {}),
    "Unsqueeze": (1, ["axis0"], {}),
    "Slice": (1, ["start", "end", "axis1"], {}),
    "Split": (1, [], {"axis": 1}),
    "Gather": (1, ["axis0"], {}),
    "DepthToSpace": (1, [], {"blocksize": 2}),
}
WEIGHTED = {
    "Conv": ((8, 8, 1, 1), [1, 8, 4, 4], {"kernel_shape": [1, 1]}),
    "Gemm": ((4, 8), [2, 8], {"transB": 1}),
    "MatMul": ((8, 4), [2, 8], {}),
}


class TestOnnxRuntimeBackend(BackendContract):
    tolerance = 1e-5

    @pytest.fixture
    def backend(self) -> Backend:
        return OnnxRuntimeBackend()


def test_target_options_are_read() -> None:
    target = OnnxRuntimeBackend().target({"channel_multiple": "16", "opset": "17"})
    assert (target.channel_multiple, target.opset) == (16, 17)


@pytest.mark.parametrize("text", ["0", "-8", "eight", "1.5", ""])
def test_target_option_that_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="channel_multiple"):
        OnnxRuntimeBackend().target({"channel_multiple": text})


def test_misspelt_option_names_the_nearest() -> None:
    with pytest.raises(OptionError, match="channel_multiple"):
        OnnxRuntimeBackend().target({"chanel_multiple": "8"})


def test_every_operator_said_to_compute_on_codes_is_tried_here() -> None:
    assert UNWEIGHTED.keys() | WEIGHTED.keys() == COMPUTES_ON_CODES | MOVES_CODES


@pytest.mark.parametrize("op", sorted(COMPUTES_ON_CODES | MOVES_CODES))
def test_runtime_leaves_no_float_operator_of_this_kind(op: str, tmp_path: Path) -> None:
    ops = oracles.optimized_operators(_quantized(op), tmp_path)
    assert ops.count("QuantizeLinear") == (UNWEIGHTED[op][0] if op in UNWEIGHTED else 1)
    assert ops.count("DequantizeLinear") == (2 if op == "Split" else 1)


@pytest.mark.parametrize("op", ["Tanh", "Exp", "GlobalMaxPool"])
def test_other_operators_do_stay_float(op: str, tmp_path: Path) -> None:
    ops = oracles.optimized_operators(_quantized(op), tmp_path)
    assert ops.count("DequantizeLinear") == 2


def test_model_too_large_for_protobuf_goes_through_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "PROTOBUF_LIMIT", 10)
    model = tiny_model()
    want = copy.deepcopy(model)
    with session_of(model, optimize=False) as session:
        result = session.run(tiny_feed())
    assert model == want
    monkeypatch.undo()
    np.testing.assert_array_equal(result["y"], reference_executor()(model)(tiny_feed())["y"])


def test_reference_is_not_fused() -> None:
    """BatchNormalization merged into the convolution rounds otherwise; equal results would mean the switch is dead."""
    model = tiny_model()
    reference, fused = (reference_executor(optimize=flag)(model)(tiny_feed())["y"] for flag in (False, True))
    assert not np.array_equal(reference, fused)
    np.testing.assert_allclose(reference, fused, rtol=0, atol=1e-5)


def test_unknown_operator_set_is_one_sentence() -> None:
    model = tiny_model()
    model.graph.node[2].domain = "strange.kernels"
    model.opset_import.append(helper.make_opsetid("strange.kernels", 1))
    with pytest.raises(BackendError) as caught:
        session_of(model)
    assert "\n" not in str(caught.value)
    assert "strange.kernels" in str(caught.value)


def test_missing_file_is_a_backend_error(tmp_path: Path) -> None:
    with pytest.raises(BackendError):
        OnnxRuntimeSession(tmp_path / "none.onnx")


def test_nothing_is_printed_when_a_run_fails(capfd: pytest.CaptureFixture[str]) -> None:
    model = tiny_model(batch="n")
    shape = numpy_helper.from_array(np.array([7, 5], np.int64), "shape")
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("Reshape", ["y", "shape"], ["z"]))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [7, 5]))
    with session_of(model) as session, pytest.raises(BackendError, match="Reshape"):
        session.run(tiny_feed())
    assert capfd.readouterr() == ("", "")


def test_profiling_that_fails_is_one_sentence(tmp_path: Path) -> None:
    model = tiny_model(batch="n")
    model.graph.initializer.append(numpy_helper.from_array(np.array([7, 5], np.int64), "shape"))
    model.graph.node.append(helper.make_node("Reshape", ["y", "shape"], ["z"]))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [7, 5]))
    onnx.save(model, tmp_path / "model.onnx")
    with (
        OnnxRuntimeSession(tmp_path / "model.onnx") as session,
        pytest.raises(BackendError, match=r"onnxruntime cannot run the model: .*Reshape"),
    ):
        session.kernels(tiny_feed(), 1)


@pytest.mark.parametrize(
    ("op", "domain", "message"),
    [
        ("EfficientNMS_TRT", "TRT", "no operator TRT::EfficientNMS_TRT. EfficientNMS_TRT is a plugin of TensorRT: use"),
        ("Foo", "strange.kernels", "no operator strange.kernels::Foo. Its kernels are in a library"),
    ],
)
def test_an_operator_that_onnxruntime_lacks_is_named(op: str, domain: str, message: str) -> None:
    model = tiny_model()
    model.graph.node[2].op_type, model.graph.node[2].domain = op, domain
    model.opset_import.append(helper.make_opsetid(domain, 1))
    with pytest.raises(BackendError, match=message):
        session_of(model)


def test_types_that_onnxruntime_does_not_compute_in_are_named() -> None:
    node = helper.make_node("MatMul", ["x", "x"], ["y"], name="product")
    shape = {name: helper.make_tensor_value_info(name, TensorProto.BFLOAT16, [2, 2]) for name in "xy"}
    graph = helper.make_graph([node], "g", [shape["x"]], [shape["y"]])
    with pytest.raises(BackendError, match="computes no MatMul of these types") as caught:
        session_of(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))
    assert caught.value.node == "product"
    assert "float32" in caught.value.hint


def test_threads_do_not_spin_between_runs(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(tiny_model(), path)
    session = OnnxRuntimeSession(path)
    options = session._session.get_session_options()
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"


def test_cores_are_counted() -> None:
    assert cores() >= 1


def test_error_text_is_stripped_of_codes() -> None:
    error = RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Load model from a.onnx failed:\nno such thing.")
    assert one_sentence(error) == "Load model from a.onnx failed: no such thing"


def _quantized(op: str) -> onnx.ModelProto:
    """The operator between QuantizeLinear and DequantizeLinear pairs, scales and zero points all equal."""
    constants, nodes, inputs = dict(CONSTANTS), [], []
    count, further, attributes = UNWEIGHTED.get(op, (1, [], {}))
    shape = [1, 8, 4, 4]
    if op in WEIGHTED:
        weight, shape, attributes = WEIGHTED[op]
        further = _weights(op, weight, constants, nodes)
    for number in range(count):
        nodes += _pair(f"x{number}", f"d{number}")
        inputs.append(f"d{number}")
    outputs = ["y0", "y1"] if op == "Split" else ["y0"]
    nodes.append(helper.make_node(op, inputs + further, outputs, **attributes))
    for name in outputs:
        nodes += _pair(name, "out_" + name)
    graph = helper.make_graph(
        nodes,
        op,
        [helper.make_tensor_value_info(f"x{number}", TensorProto.FLOAT, shape) for number in range(count)],
        [helper.make_tensor_value_info("out_" + name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _weights(op: str, shape: tuple[int, ...], constants: dict, nodes: list) -> list[str]:
    channels = 1 if op == "MatMul" else shape[0]
    scale = np.full(channels, 0.01, np.float32) if channels > 1 else np.float32(0.01)
    constants |= {"w": np.ones(shape, np.int8), "ws": scale, "wz": np.zeros(np.shape(scale), np.int8)}
    nodes.append(helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["dw"], axis=0))
    if op == "MatMul":
        return ["dw"]
    constants |= {"b": np.zeros(channels, np.int32), "bs": scale * np.float32(0.02), "bz": np.zeros(channels, np.int32)}
    nodes.append(helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["db"], axis=0))
    return ["dw", "db"]


def _pair(source: str, result: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [source, "scale", "zero"], ["q_" + result]),
        helper.make_node("DequantizeLinear", ["q_" + result, "scale", "zero"], [result]),
    ]


def test_an_input_without_a_shape_takes_any_and_a_scalar_takes_scalars() -> None:
    shapeless = onnx.ValueInfoProto(name="x", type=onnx.helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    scalar = onnx.helper.make_tensor_value_info("s", TensorProto.FLOAT, [])
    result = onnx.ValueInfoProto(name="y", type=onnx.helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "s"], ["y"])], "g", [shapeless, scalar], [result]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    session = OnnxRuntimeSession(model.SerializeToString(), threads=1)
    assert [spec.open_rank for spec in session.inputs] == [True, False]
    one = np.float32(1)
    for shape in ((), (2,), (1, 2, 3)):
        found = session.run({"x": np.zeros(shape, np.float32), "s": np.asarray(one)})["y"]
        assert found.shape == shape
    with pytest.raises(BackendError, match="'s' takes"):
        session.run({"x": np.zeros(2, np.float32), "s": np.zeros(2, np.float32)})


def test_what_depends_on_no_unknown_operator_runs() -> None:
    model = strange_model()
    name = model.graph.node[3].output[0]
    with pytest.raises(BackendError, match="Whiten"):
        reference_executor()(model)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    assert reference_executor()(model)(tiny_feed())[name].size > 0
