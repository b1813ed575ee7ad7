from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.oracles import assert_same_function, run
from tests.passes import feeding
from tests.passes.feeding import run_pass
from tests.passes.graphs import Value, build
from tests.samples import strange_model, tiny_model
from yocc.compiler.graph import Graph, load, refresh, to_proto, verify
from yocc.compiler.pipeline.passes import Arrays, PassContext
from yocc.compiler.pipeline.target import Target
from yocc.errors import OptionError
from yocc.passes.fp16 import Fp16
from yocc.passes.fp32 import Fp32
from yocc.passes.fuse import Fuse
from yocc.passes.simplify import Simplify
from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession
from yocc.runtime.data.letterbox import letterbox, read_picture

HALF = np.float16


def context(arrays: list[Arrays] | None = None) -> PassContext:
    return feeding.context(
        Target("test", rest_is_fp16=True), feeds=None if arrays is None else feeding.Pictures(arrays)
    )


def halved(graph: Graph, ctx: PassContext | None = None, *, tolerance: float = 2e-3) -> PassContext:
    """Convert, check soundness, types at the border, the function, and that a second run changes no byte."""
    ctx = ctx or context()
    before = to_proto(graph)
    run_pass(Fp16(), graph, ctx)
    refresh(graph)
    assert verify.problems(graph) == []
    after = to_proto(graph)
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)
    assert_same_function(before, after, tolerance=tolerance)
    again = PassContext(target=ctx.target, feeds=ctx.feeds, executor=ctx.executor, protected=ctx.protected)
    assert run_pass(Fp16(), graph, again) == 0
    assert to_proto(graph).SerializeToString(deterministic=True) == after.SerializeToString(deterministic=True)
    return ctx


def types(graph: Graph) -> dict[str, type]:
    """Type of each node's first output."""
    return {node.name: node.outputs[0].dtype.type for node in graph.nodes}


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


W = (4, 4, 3, 3)


def test_layers_are_half_and_decoding_is_single_behind_one_cast() -> None:
    graph = build(
        ["c1: a = Conv(x, w1)", "r: b = Relu(a)", "c2: c = Conv(b, w2)", "s: d = Sigmoid(c)", "m: y = Mul(c, d)"],
        {"w1": W, "w2": W},
        ["y"],
    )
    ctx = halved(graph)
    assert ops(graph) == ["Cast", "Conv", "Relu", "Conv", "Cast", "Sigmoid", "Mul"]
    found = types(graph)
    assert [found[name] for name in ("c1", "r", "c2", "s", "m")] == [HALF, HALF, HALF, np.float32, np.float32]
    census = ctx.details["fp16"]
    assert census["macs"] == {"fp16": 1.0, "fp32": 0.0, "int8": 0.0}
    assert census["nodes"] == {"fp16": 3, "fp32": 2, "int8": 0}
    assert census["casts"] == 2
    assert census["decode"] == 2


def test_output_of_a_layer_keeps_name_and_type() -> None:
    graph = build(["c: y = Conv(x, w)", "r: z = Relu(y)"], {"w": W}, ["y", "z"])
    halved(graph)
    assert ops(graph) == ["Cast", "Conv", "Cast", "Relu"]
    assert graph.nodes[2].outputs[0].name == "y"


def test_constant_on_both_sides_of_the_border_is_split() -> None:
    graph = build(
        ["m1: a = Mul(x, k)", "c: b = Conv(a, w)", "m2: y = Mul(b, k)"], {"w": (4, 4, 1, 1), "k": (1, 4, 1, 1)}, ["y"]
    )
    halved(graph)
    names = {node.name: [tensor.name for tensor in node.inputs] for node in graph.nodes}
    assert names["m1"][1] == "k_fp16"
    assert names["m2"][1] == "k"
    assert graph.tensors()["k"].values.dtype == np.float32


def test_existing_casts_are_folded() -> None:
    graph = build(
        [f"i: h = Cast<to={TensorProto.FLOAT16}>(x)", "c: a = Conv(h, w)", "u: b = Cast<to=1>(a)", "r: d = Relu(b)",
         f"l: e = Cast<to={TensorProto.FLOAT16}>(d)", "c2: f = Conv(e, w)", "o: y = Cast<to=1>(f)"],
        {"w": np.random.default_rng(0).normal(size=W).astype(HALF)},
        ["y"],
    )  # fmt: skip
    halved(graph)
    assert ops(graph) == ["Cast", "Conv", "Relu", "Conv", "Cast"]


def test_weights_fp16_cannot_hold_keep_their_layer_single() -> None:
    large = np.random.default_rng(0).normal(size=W).astype(np.float32)
    large[0, 0, 0, 0] = 9e4
    graph = build(["c1: a = Conv(x, w)", "r: b = Relu(a)", "c2: y = Conv(b, v)"], {"w": large, "v": W}, ["y"])
    ctx = halved(graph)
    assert types(graph)["c1"] is np.float32
    assert types(graph)["c2"] is HALF
    np.testing.assert_array_equal(graph.tensors()["w"].values, large)
    assert [(note.node, "90000" in note.message) for note in ctx.notes] == [("c1", True)]


def test_protected_tensor_keeps_its_type() -> None:
    graph = build(["c1: a = Conv(x, w)", "r: b = Relu(a)", "c2: y = Conv(b, w)"], {"w": W}, ["y"])
    ctx = PassContext(target=Target("test"), protected=frozenset({"b"}))
    run_pass(Fp16(), graph, ctx)
    assert types(graph)["r"] is np.float32
    assert types(graph)["c1"] is HALF
    assert [(note.node, note.message) for note in ctx.notes] == [("r", "Stays fp32: its output is protected.")]


def test_protected_tensor_is_cast_back_where_the_target_wants_its_layer_half() -> None:
    nodes = ["a: b = Conv(x, w)", "s: c = Sigmoid(b)", "r: y = Relu(b)"]
    graph = build(nodes, {"w": (4, 4, 1, 1)}, ["y", "c"])
    halved(graph, PassContext(target=Target("test", last_layers_fp16=True), protected=frozenset({"b"})))
    assert graph.tensors()["b"].dtype == np.float32
    (cast,) = [node for node in graph.nodes if node.op == "Cast" and node.outputs[0].name == "b"]
    layer = cast.inputs[0].inputs[0]
    assert (layer.name, layer.outputs[0].dtype) == ("a", np.float16)
    assert [reader.name for reader in graph.tensors()["b"].outputs] == ["s", "r"]


def test_subnormal_weights_are_kept() -> None:
    graph = build(["c: y = Conv(x, w)"], {"w": np.full(W, 1e-5, np.float32)}, ["y"])
    halved(graph, tolerance=0.02)
    assert (graph.tensors()["w"].values > 0).all()


def test_infinite_mask_is_no_overflow() -> None:
    mask = np.zeros((1, 4, 8, 8), np.float32)
    mask[0, 0, 0, 0] = -np.inf
    graph = build(["a: a = Add(x, k)", "r: b = Relu(a)", "c: y = Conv(b, w)"], {"k": mask, "w": W}, ["y"])
    halved(graph)
    assert types(graph)["a"] is HALF


def test_measured_activations_above_the_limit_stay_single() -> None:
    nodes = ["c1: a = Conv(x, w)", "m: b = Mul(a, k)", "t: c = Tanh(b)", "c2: y = Conv(c, w)"]
    weights: dict[str, Value] = {"w": W, "k": np.float32(1e4)}
    pictures = [{"x": np.random.default_rng(0).random((1, 4, 8, 8), np.float32)}]
    graph = build(nodes, weights, ["y"])
    ctx = halved(graph, context(pictures))
    found = types(graph)
    assert (found["c1"], found["m"], found["t"], found["c2"]) == (HALF, np.float32, np.float32, HALF)
    assert {note.node for note in ctx.notes} == {"m", "t"}
    assert "above 512" in ctx.notes[0].message
    graph = build(nodes, weights, ["y"])
    run_pass(Fp16(pictures=0), graph, context(pictures))
    assert types(graph)["m"] is HALF, "not measured"


@pytest.mark.parametrize(
    ("nodes", "weights", "single"),
    [
        (["c: a = Conv(x, w)", "n: b = BatchNormalization(a, k, k, k, k)", "c2: y = Conv(b, w)"],
         {"k": np.ones(4, np.float32)}, "n"),
        (["c: a = Conv(x, w)", "n: b = NonZero(a)", "u: e = Cast<to=1>(b)", "g: d = ReduceSum<keepdims=0>(e)",
          "m: f = Mul(a, d)", "c2: y = Conv(f, w)"], {}, "u"),
    ],
    ids=["BatchNormalization", "index arithmetic"],
)  # fmt: skip
def test_stays_single(nodes: list[str], weights: dict[str, Value], single: str) -> None:
    graph = build(nodes, {"w": W} | weights, ["y"])
    halved(graph)
    assert types(graph)["c"] is HALF
    assert types(graph)[single] is np.float32


@pytest.mark.parametrize(
    ("nodes", "single"),
    [
        (["t: a = Transpose<perm = [1, 0, 2]>(q)", "m: y = MatMul(a, w)"], True),
        (["t: a = Transpose<perm = [1, 2, 0]>(q)", "r: b = Relu(a)", "m: y = MatMul(b, w)"], True),
        (["t: a = Transpose<perm = [0, 2, 1]>(q)", "m: y = MatMul(a, w)"], False),
        (
            [
                "f: p = Reshape(q, two)",
                "t: a = Transpose<perm = [1, 0]>(p)",
                "g: b = Reshape(a, q3)",
                "m: y = MatMul(b, w)",
            ],
            True,
        ),
    ],
    ids=["time first", "channels first", "last two", "a third axis afterwards"],
)
def test_the_first_axis_is_moved_into_products_in_single(nodes: list[str], single: bool) -> None:
    """In half precision onnxruntime 1.32 crashes on it when it optimizes."""
    weights = {"shape": [8, 8, 8], "two": [8, 64], "q3": [8, 8, 8], "w": (8, 6)}
    graph = build(["c: c = Conv(x, v)", "s: q = Reshape(c, shape)", *nodes], {"v": (8, 4, 1, 1), **weights}, ["y"])
    halved(graph)
    assert types(graph)["t"] is (np.float32 if single else HALF)
    assert types(graph)["m"] is HALF
    # With all of its optimizations.
    OnnxRuntimeSession(to_proto(graph).SerializeToString(), threads=1).close()


def test_a_table_is_half_without_a_layer_beside_it() -> None:
    graph = build(
        ["c: i = Cast<to = 7>(x)", "g: e = Gather(table, i)", "m: y = ReduceMean(e)"], {"table": (9, 5)}, ["y"]
    )
    halved(graph, tolerance=5e-3)
    assert types(graph)["g"] is HALF


def test_resize_scales_stay_single() -> None:
    graph = build(
        ["c: a = Conv(x, w)", "r: b = Resize(a, , s)", "c2: y = Conv(b, w)"],
        {"w": W, "s": np.array([1, 1, 2, 2], np.float32)},
        ["y"],
    )
    halved(graph)
    resize = next(node for node in graph.nodes if node.op == "Resize")
    assert resize.inputs[0].dtype == HALF
    assert resize.inputs[2].dtype == np.float32
    assert ops(graph).count("Cast") == 2


def test_shape_arithmetic_stays_single() -> None:
    graph = build(
        ["sh: s = Shape(x)", "f: t = Cast<to=1>(s)", "k: u = Mul(t, h)", "i: v = Cast<to=7>(u)",
         "c: a = Conv<pads=[1, 1, 1, 1]>(x, w)", "r: b = Reshape(a, v)", "c2: y = Conv(b, w2)"],
        {"w": W, "h": np.array([1, 2, 0.5, 1], np.float32), "w2": (3, 8, 1, 1)},
        ["y"],
    )  # fmt: skip
    halved(graph)
    assert types(graph)["k"] is np.float32
    assert types(graph)["r"] is HALF


def test_operator_without_half_form_in_this_opset_stays_single() -> None:
    """CumSum takes fp16 from opset 14 on."""
    nodes = ["c: a = Conv(x, w)", "k: b = CumSum(a, i)", "c2: y = Conv(b, w)"]
    for opset, expected in ((13, np.float32), (14, HALF)):
        graph = build(nodes, {"w": W, "i": np.array(1, np.int64)}, ["y"], opset=opset)
        ctx = halved(graph)
        assert types(graph)["k"] is expected
        assert [note.node for note in ctx.notes] == (["k"] if opset == 13 else [])


def test_region_without_a_layer_is_not_worth_two_casts() -> None:
    graph = build(["r: a = Relu(x)", "s: y = Sigmoid(a)"], {}, ["y"])
    ctx = halved(graph, tolerance=0)
    assert ops(graph) == ["Relu", "Sigmoid"]
    assert [note.level for note in ctx.notes] == ["warning"], "fp16 was asked for and nothing is"


def test_unknown_operator_and_branches_keep_their_types() -> None:
    output = helper.make_tensor_value_info("t", 1, [1, 4, 6, 6])
    branches = {
        "then_branch": helper.make_graph([helper.make_node("Relu", ["a"], ["t"])], "then", [], [output]),
        "else_branch": helper.make_graph([helper.make_node("Neg", ["a"], ["t"])], "else", [], [output]),
    }
    weight = onnx.numpy_helper.from_array(np.random.default_rng(0).normal(size=W).astype(np.float32), "w")
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Conv", ["x", "w"], ["a"], "c1"),
                helper.make_node("If", ["p"], ["b"], "if", **branches),
                helper.make_node("Conv", ["b", "w"], ["y"], "c2"),
            ],
            "test",
            [helper.make_tensor_value_info("x", 1, [1, 4, 8, 8]), helper.make_tensor_value_info("p", 9, [])],
            [helper.make_tensor_value_info("y", 1, [1, 4, 4, 4])],
            [weight],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    graph = load(model)
    ctx = halved(graph)
    assert types(graph)["c1"] is np.float32, "a branch reads it"
    assert types(graph)["if"] is np.float32
    assert types(graph)["c2"] is HALF
    assert {note.node for note in ctx.notes} == {"c1", "if"}


def quantized(scale: float, codes: np.ndarray) -> Graph:
    return build(
        ["q: e = QuantizeLinear(x, s, z)", "d: f = DequantizeLinear(e, s, z)", "dw: w = DequantizeLinear<axis=0>(k, t)",
         "db: b = DequantizeLinear<axis=0>(n, u)", "c: a = Conv(f, w, b)", "o: y = Relu(a)"],
        {"s": np.float32(0.01), "z": np.int8(0), "k": codes, "t": np.array([0.01, 0.02, scale, 0.01], np.float32),
         "n": np.array([100, -100, 50, 7], np.int32), "u": np.array([1e-4, 2e-4, 1e-2 * scale, 1e-4], np.float32)},
        ["y"],
    )  # fmt: skip


def test_scales_of_quantized_layers_become_half_together_with_the_data() -> None:
    graph = quantized(0.03, np.random.default_rng(0).integers(-127, 128, W).astype(np.int8))
    ctx = halved(graph, tolerance=1e-2)
    assert graph.opset == 19
    assert any("Raised the opset from 17 to 19" in note.message for note in ctx.notes)
    for node in graph.nodes:
        if node.op in ("QuantizeLinear", "DequantizeLinear"):
            assert node.inputs[1].dtype == HALF
        if node.op == "Conv":
            assert [tensor.dtype for tensor in node.inputs] == [HALF, HALF, HALF]
            assert node.inputs[2].values.dtype == HALF, "an int32 bias becomes a constant"
    assert ctx.details["fp16"]["macs"]["int8"] == 1.0


def test_a_target_that_computes_the_rest_in_single_is_left_alone_with_a_warning() -> None:
    graph = quantized(0.03, np.ones(W, np.int8))
    before = ops(graph)
    ctx = feeding.context(Target("singles"))
    assert run_pass(Fp16(), graph, ctx) == 0
    assert ops(graph) == before
    assert [note.level for note in ctx.notes] == ["warning"]
    assert "'singles'" in ctx.notes[0].message


def test_vanishing_scale_is_raised_and_its_codes_rewritten() -> None:
    graph = quantized(1e-5, np.full(W, 120, np.int8))
    ctx = halved(graph, tolerance=1e-2)
    weight = next(node for node in graph.nodes if node.name == "dw")
    assert weight.inputs[1].values.min() >= 6.1e-5
    codes = weight.inputs[0].values
    assert (codes[2] == round(120 * 1e-5 / float(np.finfo(HALF).smallest_normal))).all()
    assert (codes[0] == 120).all()
    assert any(note.node == "dw" and "tensor 'k' below" in note.message for note in ctx.notes)


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": 7e4}, {"limit": float("nan")}, {"pictures": -1}])
def test_options_without_meaning_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        Fp16(**options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "file", ["yolov5n.onnx", "yolov5n_bn.onnx", "yolov5n_dynamic.onnx", "yolov5n_fp16cast_op12.onnx"]
)
def test_detector_finds_the_same_objects(shared_data: Path, file: str) -> None:
    picture, _ = letterbox(read_picture(shared_data / "images" / "bus.jpg"), (640, 640), 114)
    feeds = {"images": np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 255}
    source = shared_data / "models" / file
    graph, ctx = load(source), context([feeds])
    for step in (Simplify(), Fuse(), Fp16(pictures=1)):
        run_pass(step, graph, ctx)
        refresh(graph)
    assert verify.problems(graph) == []
    model = to_proto(graph)
    (before,), (after,) = run(source, feeds).values(), run(model, feeds).values()
    scores_before, scores_after = (rows[0, :, 4:5] * rows[0, :, 5:] for rows in (before, after))
    assert np.abs(scores_before - scores_after).max() < 5e-3
    found = scores_before.max(axis=1) > 0.25
    assert found.sum() > 20
    assert np.abs(before[0, found, :4] - after[0, found, :4]).max() < 1
    assert model.ByteSize() < 4.3e6
    census = ctx.details["fp16"]
    assert census["macs"]["fp16"] == 1
    assert census["casts"] == 4, "one for the picture, one for each head"


def test_a_model_in_half_precision_is_measured_and_stays_so() -> None:
    half = TensorProto.FLOAT16
    random = np.random.default_rng(0)
    weights = [
        onnx.numpy_helper.from_array((random.standard_normal(shape) / 5).astype(np.float16), name)
        for name, shape in (("w", (8, 3, 3, 3)), ("v", (8, 8, 1, 1)))
    ]
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Conv", ["x", "w"], ["c"], name="first"),
                helper.make_node("Relu", ["c"], ["d"], name="relu"),
                helper.make_node("Conv", ["d", "v"], ["y"], name="last"),
            ],
            "half",
            [helper.make_tensor_value_info("x", half, [1, 3, 8, 8])],
            [helper.make_tensor_value_info("y", half, [1, 8, 6, 6])],
            weights,
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    graph = load(model)
    ctx = feeding.context(feeds=feeding.drawn(model, 2))
    for step in (Fp32(), Simplify(), Fp16()):
        run_pass(step, graph, ctx)
        refresh(graph)
    assert verify.problems(graph) == []
    assert {np.dtype(tensor.dtype) for tensor in (*graph.inputs, *graph.outputs)} == {np.dtype(np.float16)}
    assert [node.op for node in graph.nodes] == ["Conv", "Relu", "Conv"]
    assert_same_function(model, to_proto(graph), tolerance=1e-2)


def test_a_model_that_does_not_run_here_is_converted_without_ranges() -> None:
    model = strange_model()
    graph = load(model)
    ctx = feeding.context(feeds=feeding.drawn(tiny_model()))
    Fp16().run(graph, ctx)
    refresh(graph)
    assert verify.problems(graph) == []
    assert any("Ranges were not measured" in note.message for note in ctx.notes)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_compute_in_fp32_with_weights_stored_in_half(op: str) -> None:
    rows = {"LSTM": 4, "GRU": 3, "RNN": 1}[op] * 16
    random = np.random.default_rng(0)
    values = {"w": (1, rows, 24), "r": (1, rows, 16), "b": (1, 2 * rows)}
    arrays: dict[str, Value] = {
        name: random.normal(size=shape).astype(np.float32) / 4 for name, shape in values.items()
    }
    graph = build([f"n: y = {op}<hidden_size=16>(x, w, r, b)"], arrays, ["y"], shape=[5, 1, 24])
    ctx = feeding.context(Target("test", decoded_weights=frozenset({op})))
    before = len(to_proto(graph).SerializeToString())
    halved(graph, ctx)
    assert len(to_proto(graph).SerializeToString()) < 0.7 * before
    layer = next(node for node in graph.nodes if node.op == op)
    assert [tensor.inputs[0].op for tensor in layer.inputs[1:3]] == ["Cast", "Cast"]
    assert layer.outputs[0].dtype == np.float32


def test_recurrent_weights_stay_where_the_target_cannot_decode_them() -> None:
    arrays: dict[str, Value] = {"w": np.ones((1, 64, 24), np.float32), "r": np.ones((1, 64, 16), np.float32)}
    graph = build(["n: y = LSTM<hidden_size=16>(x, w, r)"], arrays, ["y"], shape=[5, 1, 24])
    halved(graph, feeding.context(Target("test", decoded_weights=frozenset())))
    assert all(tensor.dtype == np.float32 for tensor in graph.nodes[0].inputs)
