"""int8 from Q/DQ graphs: what is quantized, what is passed on as codes, and that the numbers are those of the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import yocc
from tests import oracles
from tests.runtime.backends.ncnn.running import ncnn_outputs, needs_ncnn
from yocc.compiler.graph import load, to_proto
from yocc.models.yolov5 import build_yolov5
from yocc.runtime.backends.ncnn.backend import NcnnBackend
from yocc.runtime.backends.ncnn.format import Layer, Network, read_network

SCALE = 0.02


class Builder:
    """A chain of nodes, each reading the last."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.shape = shape
        self.last = "x"

    def add(self, op: str, *constants: str, inputs: tuple[str, ...] = (), **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        read = [*(inputs or (self.last,)), *constants]
        self.nodes.append(helper.make_node(op, read, [name], name=f"{op}_{len(self.nodes)}", **attributes))
        self.last = name
        return name

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def pair(self, scale: float = SCALE, zero: int = 0, dtype: type = np.int8) -> str:
        names = self.constant(np.float32(scale)), self.constant(np.asarray(zero, dtype))
        self.add("QuantizeLinear", *names)
        return self.add("DequantizeLinear", *names)

    def conv(self, outputs: int, inputs: int, kernel: int = 3, group: int = 1, source: str = "") -> str:
        shape = (outputs, inputs // group, kernel, kernel)
        codes = self.constant(self.random.integers(-127, 128, shape).astype(np.int8))
        scales = self.constant(self.random.uniform(0.001, 0.003, outputs).astype(np.float32))
        zeros = self.constant(np.zeros(outputs, np.int8))
        source = source or self.last
        weight = self.add("DequantizeLinear", scales, zeros, inputs=(codes,), axis=0)
        bias = self.constant(self.random.normal(0, 0.1, outputs).astype(np.float32))
        pads = [kernel // 2] * 4
        return self.add("Conv", bias, inputs=(source, weight), pads=pads, group=group)

    def model(self, *outputs: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "quantized",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs or (self.last,)],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def lowered(model: onnx.ModelProto, folder: Path) -> Network:
    backend = NcnnBackend()
    artifact = backend.build(load(model), backend.target({}), folder)
    return read_network(artifact.model.read_text(), artifact.model.with_suffix(".bin").read_bytes())


def terms(network: Network) -> list[object]:
    return [layer.parameters.get(8, 0) for layer in network.layers if layer.type.startswith("Conv")]


def layers(network: Network, kind: str) -> list[Layer]:
    return [layer for layer in network.layers if layer.type == kind]


def assert_within_codes(model: onnx.ModelProto, shape: tuple[int, ...], steps: float) -> None:
    """Outputs differ by at most so many steps of a code, where rounding of a tie falls otherwise."""
    feeds = {"x": np.random.default_rng(5).normal(0, 0.8, shape).astype(np.float32)}
    wanted, found = oracles.run(model, feeds), ncnn_outputs(model, feeds)
    for name, value in wanted.items():
        difference = np.abs(found[name] - value)
        assert difference.max() <= steps * SCALE
        assert np.mean(difference > 1e-3 * np.abs(value).max()) < 0.02


@needs_ncnn
def test_one_convolution(tmp_path: Path) -> None:
    builder = Builder((1, 8, 6, 6))
    builder.pair()
    builder.conv(16, 8)
    assert terms(lowered(builder.model(), tmp_path)) == [2]
    assert_within_codes(builder.model(), (1, 8, 6, 6), steps=1)


@needs_ncnn
@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "HardSwish"])
def test_codes_are_passed_on_between_convolutions(activation: str, tmp_path: Path) -> None:
    builder = Builder((1, 8, 6, 6))
    builder.pair()
    builder.conv(16, 8)
    builder.add(activation)
    builder.pair()
    builder.conv(8, 16)
    network = lowered(builder.model(), tmp_path)
    assert terms(network) == [102, 2]
    assert layers(network, "Convolution")[0].data[-1].values[0] == pytest.approx(1 / SCALE)
    assert [layer.type for layer in network.layers] == ["Input", "Convolution", "Convolution"]
    assert_within_codes(builder.model(), (1, 8, 6, 6), steps=2)


@needs_ncnn
def test_codes_are_passed_on_to_several_readers_of_one_scale(tmp_path: Path) -> None:
    builder = Builder((1, 8, 6, 6))
    builder.pair()
    builder.conv(16, 8)
    builder.add("Relu")
    quantized = builder.pair()
    outputs = [builder.conv(8, 16, source=quantized), builder.conv(16, 16, group=16, source=quantized)]
    network = lowered(builder.model(*outputs), tmp_path)
    assert terms(network) == [102, 2, 1]
    assert len(layers(network, "Split")) == 1
    assert_within_codes(builder.model(*outputs), (1, 8, 6, 6), steps=2)


@needs_ncnn
@pytest.mark.parametrize("reader", ["float", "other_scale", "output", "swish", "grouped"])
def test_codes_are_not_passed_on_where_a_reader_needs_floats(reader: str, tmp_path: Path) -> None:
    builder = Builder((1, 8, 6, 6))
    builder.pair()
    builder.conv(16, 8)
    made = builder.add("Relu")
    quantized = builder.pair()
    outputs = [builder.conv(8, 16, source=quantized, group=2 if reader == "grouped" else 1)]
    if reader == "float":
        outputs.append(builder.add("Tanh", inputs=(made,)))
    elif reader == "other_scale":
        builder.last = made
        outputs.append(builder.conv(8, 16, source=builder.pair(2 * SCALE)))
    elif reader == "output":
        outputs.append(made)
    elif reader == "swish":
        outputs.append(builder.add("Sigmoid", inputs=(quantized,)))
    assert terms(lowered(builder.model(*outputs), tmp_path))[0] == 2
    if reader not in ("swish", "grouped"):  # these read the float before it is rounded
        assert_within_codes(builder.model(*outputs), (1, 8, 6, 6), steps=2)


@needs_ncnn
def test_depthwise_computes_in_int8(tmp_path: Path) -> None:
    builder = Builder((1, 16, 6, 6))
    builder.pair()
    builder.conv(16, 16, group=16)
    assert terms(lowered(builder.model(), tmp_path)) == [1]
    assert_within_codes(builder.model(), (1, 16, 6, 6), steps=1)


@needs_ncnn
@pytest.mark.parametrize(("outputs", "group"), [(16, 2), (16, 4), (32, 16)])
def test_groups_of_several_channels_stay_float(outputs: int, group: int, tmp_path: Path) -> None:
    builder = Builder((1, 16, 6, 6))
    builder.pair(0.001)
    builder.conv(outputs, 16, group=group)
    assert terms(lowered(builder.model(), tmp_path)) == [0]


@pytest.mark.parametrize(
    ("zero", "dtype", "words"),
    [(3, np.int8, "int8 with zero point 3"), (128, np.uint8, "uint8 with zero point 128"), (0, np.uint8, "uint8")],
)
def test_codes_ncnn_does_not_have_are_refused(zero: int, dtype: type, words: str) -> None:
    builder = Builder((1, 8, 6, 6))
    builder.pair(zero=zero, dtype=dtype)
    builder.conv(8, 8)
    backend = NcnnBackend()
    rejects = backend.validate(load(builder.model()), backend.target({}))
    assert words in rejects[0].reason
    assert rejects[0].hint == "Quantize with --target ncnn."


def test_activations_with_a_scale_for_each_channel_are_refused() -> None:
    builder = Builder((1, 8, 6, 6))
    names = builder.constant(np.full(8, SCALE, np.float32)), builder.constant(np.zeros(8, np.int8))
    builder.add("QuantizeLinear", *names, axis=1)
    builder.add("DequantizeLinear", *names, axis=1)
    builder.conv(8, 8)
    backend = NcnnBackend()
    rejects = backend.validate(load(builder.model()), backend.target({}))
    assert "scale for each channel" in rejects[0].reason


@pytest.mark.slow
@needs_ncnn
def test_compiled_detector_agrees_with_its_codes_in_onnxruntime(tmp_path: Path) -> None:
    """The same graph, quantized for ncnn and written as ONNX, is what onnxruntime computes here."""
    graphs = []
    report = yocc.compile(
        build_yolov5("n", size=64),
        int8=True,
        target="ncnn",
        count=4,
        out=tmp_path / "out",
        bench=False,
        observers=[lambda _, graph: graphs.append(to_proto(graph))],
    )
    assert (report.measured["execution"]["int8_layers"], report.measured["execution"]["layers_with_weights"]) == (
        57,
        60,
    )
    assert any("Swish" in warning for warning in report.warnings)
    feeds = {"images": np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)}
    wanted, found = oracles.run(graphs[-1], feeds)["output0"], ncnn_outputs(graphs[-1], feeds)["output0"]
    cosine = float((wanted * found).sum() / np.linalg.norm(wanted) / np.linalg.norm(found))
    assert cosine > 0.9995
    np.testing.assert_allclose(found[..., 4:], wanted[..., 4:], rtol=0, atol=0.02)


@needs_ncnn
def test_what_is_added_to_a_branch_is_read_in_float_by_both(tmp_path: Path) -> None:
    """ncnn's layers code what enters them and leave the tensor alone, so the shortcut past them is never rounded."""
    random = np.random.default_rng(3)
    weights = {f"w{place}": random.normal(0, 0.3, (8, 8, 3, 3)).astype(np.float32) for place in range(3)}
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], name="first", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w1"], ["c"], name="branch", pads=[1] * 4),
        helper.make_node("Add", ["b", "c"], ["d"], name="shortcut"),
        helper.make_node("Conv", ["d", "w2"], ["e"], name="behind", pads=[1] * 4),
        helper.make_node("Relu", ["e"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8, 16, 16]) for name in "xy"]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "residual", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    np.save(tmp_path / "x.npy", random.random((4, 8, 16, 16), dtype=np.float32))
    graphs = []
    yocc.compile(
        model,
        int8=True,
        target="ncnn",
        calibration=tmp_path / "x.npy",
        out=tmp_path / "out",
        bench=False,
        observers=[lambda _, graph: graphs.append(to_proto(graph))],
    )
    feeds = {"x": random.random((1, 8, 16, 16), dtype=np.float32)}
    wanted, found = oracles.run(graphs[-1], feeds)["y"], ncnn_outputs(graphs[-1], feeds)["y"]
    assert np.median(np.abs(found - wanted)) < 1e-5 * np.abs(wanted).max()
