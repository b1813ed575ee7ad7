from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.passes.feeding import Pictures, context, run_pass, whole_graph
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, load, refresh, to_proto
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.target import Target
from yocc.errors import OptionError
from yocc.passes.quantize import Quantize
from yocc.passes.quantize_weights import QuantizeWeights
from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession
from yocc.runtime.backends.openvino import OpenVinoBackend
from yocc.runtime.backends.tensorrt.backend import TensorRtBackend
from yocc.runtime.backends.tvm.backend import TvmBackend

HIDDEN = 24
IDS = {"ids": np.arange(0, 60, 7, dtype=np.int64).reshape(-1, 1)}


def normal(name: str, *shape: int, size: float = 0.2) -> onnx.TensorProto:
    values = np.random.default_rng(len(name) + sum(shape)).normal(size=shape) * size
    return numpy_helper.from_array(values.astype(np.float32), name)


def network(op: str = "LSTM", directions: int = 2, table: np.ndarray | None = None) -> onnx.ModelProto:
    """An embedding, a recurrent layer and a small layer behind it."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op] * HIDDEN
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], "lookup"),
        helper.make_node(
            op, ["rows", "w", "r", "b"], ["", "state"], "recurrent", hidden_size=HIDDEN,
            direction="bidirectional" if directions == 2 else "forward",
        ),
        helper.make_node("Squeeze", ["state", "axis"], ["flat"], "squeeze"),
        helper.make_node("MatMul", ["flat", "m"], ["y"], "matmul"),
    ]  # fmt: skip
    weights = [
        normal("table", 64, 40) if table is None else numpy_helper.from_array(table, "table"),
        normal("w", directions, gates, 40),
        normal("r", directions, gates, HIDDEN),
        normal("b", directions, 2 * gates),
        normal("m", HIDDEN, 3),
        numpy_helper.from_array(np.array([1]), "axis"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [9, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [directions, 3])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def quantized(model: onnx.ModelProto, target: Target | None = None, **options: Any) -> tuple[Graph, int]:
    graph = load(model)
    count = run_pass(QuantizeWeights(**options), graph, context(target or whole_graph()))
    refresh(graph)
    return graph, count


def decibels(before: onnx.ModelProto, after: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> float:
    exact, found = (
        OnnxRuntimeSession(model.SerializeToString(), threads=1).run(feeds)["y"] for model in (before, after)
    )
    return float(10 * np.log10(np.square(exact).sum() / np.square(exact - found).sum()))


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_and_embeddings_take_a_third_and_compute_the_same(op: str, directions: int) -> None:
    before = network(op, directions)
    graph, count = quantized(before)
    # Both matrices of an RNN of one direction are too small to be worth it.
    assert count == (1 if (op, directions) == ("RNN", 1) else 3)
    after = to_proto(graph)
    assert decibels(before, after, IDS) > 35
    assert after.ByteSize() < before.ByteSize() * (0.7 if op == "RNN" else 0.45)


def test_parameters_are_counted_as_before() -> None:
    before = load(network())
    after, _ = quantized(network())
    sums = [totals(layer_costs(graph, concrete_shapes(graph, {}))) for graph in (before, after)]
    assert sums[0] == sums[1]


def test_onnxruntime_decodes_when_it_loads(tmp_path: Any) -> None:
    import onnxruntime

    graph, _ = quantized(network())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(to_proto(graph).SerializeToString(), options, providers=["CPUExecutionProvider"])
    left = {node.op_type for node in onnx.load(tmp_path / "loaded.onnx").graph.node}
    assert not left & {"Cast", "Mul", "DequantizeLinear"}


def test_a_weight_that_several_read_is_stored_once() -> None:
    model = network("GRU", 1)
    again = helper.make_node("GRU", ["rows", "w", "r", "b"], ["", "state2"], "again", hidden_size=HIDDEN)
    model.graph.node.insert(2, again)
    model.graph.node[3].input[0] = "sum"
    model.graph.node.insert(3, helper.make_node("Add", ["state", "state2"], ["sum"], "add"))
    model.graph.node[4].input[1] = "first"
    model.graph.initializer.append(numpy_helper.from_array(np.array([0]), "first"))
    graph, count = quantized(model)
    assert count == 3
    assert sum(tensor.data_type == TensorProto.INT8 for tensor in to_proto(graph).graph.initializer) == 3
    assert decibels(model, to_proto(graph), IDS) > 35


@pytest.mark.parametrize("sentinel", [-1e9, -np.inf, np.nan, float(np.finfo(np.float32).min)])
def test_masks_are_no_weights(sentinel: float) -> None:
    table = np.random.default_rng(0).normal(size=(64, 40)).astype(np.float32)
    table[3, 5] = sentinel
    graph, count = quantized(network(table=table))
    assert count == 2
    np.testing.assert_array_equal(graph.tensors()["table"].values, table)


def test_layers_that_the_target_quantizes_are_for_the_pass_that_does_unless_all_are_asked_for() -> None:
    nodes = ["c: a = Conv(x, w)", "t: b = ConvTranspose(a, v)", "f: d = Flatten(b)", "m: y = MatMul(d, u)"]
    weights = {"w": (32, 4, 3, 3), "v": (32, 8, 3, 3), "u": (512, 4)}
    graph = build(nodes, weights, ["y"])
    assert run_pass(QuantizeWeights(), graph, context(whole_graph())) == 1
    graph = build(nodes, weights, ["y"])
    exact = to_proto(graph)
    assert run_pass(QuantizeWeights(layers="all"), graph, context(whole_graph())) == 3
    refresh(graph)
    feeds = {"x": np.random.default_rng(1).normal(size=(1, 4, 8, 8)).astype(np.float32)}
    assert decibels(exact, to_proto(graph), feeds) > 28


def test_scales_are_those_of_output_channels() -> None:
    weight = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
    weight[:, 7] *= 1e-3
    graph = build(["m: y = MatMul(x, w)"], {"w": weight}, ["y"], [1, 64])
    run_pass(QuantizeWeights(layers="all"), graph, context(whole_graph()))
    refresh(graph)
    feeds = {"x": np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)}
    exact = feeds["x"] @ weight
    found = OnnxRuntimeSession(to_proto(graph).SerializeToString(), threads=1).run(feeds)["y"]
    assert abs(found[0, 7] - exact[0, 7]) < 0.1 * abs(exact[0, 7])


def test_targets_that_take_float_only_are_left_alone_with_a_reason() -> None:
    graph, count = quantized(network(), TvmBackend().target({}))
    assert count == 0
    graph = load(network())
    ctx = context(OpenVinoBackend().target({}))
    assert run_pass(QuantizeWeights(), graph, ctx) == 1
    assert [(note.node, note.message) for note in ctx.notes] == [
        ("recurrent", "Its weights stay float: the target takes them in float only.")
    ]


def test_tensorrt_decodes_by_dequantize_linear() -> None:
    before = network()
    graph, count = quantized(before, TensorRtBackend().target({}))
    assert count == 1
    assert [node.op for node in graph.nodes if node.name.startswith("yocc")] == ["DequantizeLinear"]
    assert decibels(before, to_proto(graph), IDS) > 35


def test_tables_of_constant_rows_outputs_and_small_weights_stay() -> None:
    nodes = ["g: a = Gather(w, i)", "h: b = Gather(small, j)", "k: y = Add(a, b)"]
    rows = np.array([0, 3])
    graph = build(nodes, {"w": (64, 32), "i": rows.tolist(), "small": (2, 32), "j": [0, 1]}, ["y"])
    assert run_pass(QuantizeWeights(), graph, context(whole_graph())) == 0


def test_an_unknown_choice_is_rejected() -> None:
    with pytest.raises(OptionError, match="no layers=some"):
        QuantizeWeights(layers="some")


@pytest.mark.parametrize("target", [whole_graph(), TensorRtBackend().target({})], ids=["cast", "dequantize"])
def test_an_embedding_tied_to_a_quantized_layer_shares_its_integers(target: Target) -> None:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], "lookup"),
        helper.make_node("Relu", ["rows"], ["hidden"], "relu"),
        helper.make_node("Gemm", ["hidden", "table"], ["scores"], "tied", transB=1),
        helper.make_node("Relu", ["scores"], ["kept"], "relu2"),
        helper.make_node("Gemm", ["kept", "m"], ["y"], "last"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [9, 3])],
        [normal("table", 64, 40), normal("m", 64, 3)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    feeds = {"ids": np.arange(9, dtype=np.int64)}
    loaded = load(model)
    run_pass(Quantize(), loaded, context(target, Pictures([feeds])))
    refresh(loaded)
    after = to_proto(loaded)
    sizes = [np.prod(tensor.dims) for tensor in after.graph.initializer if tensor.data_type != TensorProto.INT8]
    assert max(sizes) <= 64 * 3
    assert decibels(model, after, feeds) > 25
