from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.oracles import assert_same_function, random_feeds
from tests.passes.feeding import run_pass
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, load, refresh, save, to_proto, verify
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.models.yolov5 import build_yolov5
from yocc.passes import simplify
from yocc.passes.simplify import Simplify

REAL = {
    "squeezenet11.onnx": 66,
    "ultraface_rfb320_op9.onnx": 161,
    "yolov5n.onnx": 236,
    "yolov5n_bn.onnx": 293,
    "yolov5n_dynamic.onnx": 341,
    "yolov5n_fp16cast_op12.onnx": 238,
    "yolov5n_raw_op12.onnx": 236,
}
"""Nodes left of each real model."""


@pytest.fixture
def ctx() -> PassContext:
    return PassContext(target=Target("test"))


def simplified(graph: Graph, ctx: PassContext, step: Simplify | None = None) -> int:
    rewrites = run_pass(step or Simplify(), graph, ctx)
    refresh(graph)
    assert verify.problems(graph) == []
    return rewrites


@pytest.mark.slow
@pytest.mark.parametrize("file", REAL)
def test_real_models_compute_the_same(shared_data: Path, ctx: PassContext, file: str) -> None:
    graph = load(shared_data / "models" / file)
    before, metadata = to_proto(graph), dict(graph.metadata)
    simplified(graph, ctx)
    assert len(graph.nodes) <= REAL[file]
    assert graph.metadata == metadata
    after = to_proto(graph)
    for old, new in zip(
        [*before.graph.input, *before.graph.output], [*after.graph.input, *after.graph.output], strict=True
    ):
        assert old == new
    assert_same_function(before, after, tolerance=1e-5)
    assert simplified(graph, ctx) == 0
    assert ctx.notes == []


@pytest.mark.slow
def test_dynamic_detector_loses_its_computed_sizes(shared_data: Path, ctx: PassContext) -> None:
    graph = load(shared_data / "models" / "yolov5n_dynamic.onnx")
    before = to_proto(graph)
    simplified(graph, ctx)
    for node in graph.nodes:
        if node.op == "Resize":
            assert node.inputs[2].values.tolist() == [1, 1, 2, 2]
            assert len(node.inputs) == 3
    feeds = {"images": np.random.default_rng(0).random((2, 3, 96, 160), np.float32)}
    assert_same_function(before, to_proto(graph), tolerance=1e-5, feeds=feeds)


@pytest.mark.slow
def test_batch_normalization_stays_for_pruning(ctx: PassContext) -> None:
    graph = load(build_yolov5("n", size=64))
    count = sum(node.op == "BatchNormalization" for node in graph.nodes)
    assert count > 0
    simplified(graph, ctx)
    assert sum(node.op == "BatchNormalization" for node in graph.nodes) == count


@pytest.mark.slow
def test_same_model_gives_the_same_bytes(shared_data: Path, tmp_path: Path, ctx: PassContext) -> None:
    for name in ("a.onnx", "b.onnx"):
        graph = load(shared_data / "models" / "yolov5n_dynamic.onnx")
        simplified(graph, ctx)
        save(graph, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_large_weights_are_neither_read_nor_shown(
    tmp_path: Path, ctx: PassContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = build(["i: a = Identity(x)", "c: y = Conv(a, w)"], {"w": (64, 4, 3, 3)}, ["y"])
    before = to_proto(graph)
    onnx.save_model(
        to_proto(graph), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0
    )
    seen: list[int] = []
    real = simplify.onnxsim_result

    def spy(bare: onnx.ModelProto) -> onnx.ModelProto:
        seen.append(bare.ByteSize())
        return real(bare)

    monkeypatch.setattr(simplify, "onnxsim_result", spy)
    graph = load(tmp_path / "m.onnx")
    assert simplified(graph, ctx) > 0
    assert max(seen) < 64 * 4 * 3 * 3
    assert not isinstance(graph.nodes[0].inputs[1]._values, np.ndarray), "the weight was read from disk"
    assert_same_function(before, to_proto(graph), tolerance=0)


def test_failing_onnxsim_is_one_note_and_no_loss(ctx: PassContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: onnx.ModelProto) -> onnx.ModelProto:
        raise RuntimeError(f"cannot digest {model.graph.name}\nand more")

    monkeypatch.setattr(simplify, "onnxsim_result", broken)
    graph = build(["i: a = Identity(x)", "c: y = Conv(a, w)"], {"w": (4, 4, 3, 3)}, ["y"])
    before = to_proto(graph)
    assert simplified(graph, ctx) == 1, "yocc's own rules still work"
    assert [note.message for note in ctx.notes] == [
        "onnxsim could not work on this model and was left out: cannot digest test."
    ]
    assert_same_function(before, to_proto(graph), tolerance=0)


def test_result_that_lost_an_output_is_refused(ctx: PassContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(model: onnx.ModelProto) -> onnx.ModelProto:
        del model.graph.output[-1]
        return model

    monkeypatch.setattr(simplify, "onnxsim_result", lossy)
    graph = build(["r: y = Relu(x)", "s: z = Sigmoid(x)"], {}, ["y", "z"])
    assert simplified(graph, ctx) == 0
    assert [tensor.name for tensor in graph.outputs] == ["y", "z"]
    assert "its result is not used" in ctx.notes[0].message


def test_unknown_operator_is_left_alone(ctx: PassContext) -> None:
    helper = onnx.helper
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Secret", ["x"], ["a"], domain="some.lab"), helper.make_node("Identity", ["a"], ["b"]),
             helper.make_node("Relu", ["b"], ["y"])],
            "test",
            [helper.make_tensor_value_info("x", 1, [1, 4])],
            [helper.make_tensor_value_info("y", 1, [1, 4])],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("some.lab", 1)],
        ir_version=8,
    )  # fmt: skip
    graph = load(model)
    assert simplified(graph, ctx) > 0
    assert [node.op for node in graph.nodes] == ["Secret", "Relu"]
    assert graph.nodes[0].domain == "some.lab"


def test_branches_of_an_if_keep_what_they_capture(ctx: PassContext) -> None:
    helper = onnx.helper

    def branch(op: str, name: str) -> onnx.GraphProto:
        output = helper.make_tensor_value_info(name, 1, [1, 64])
        return helper.make_graph([helper.make_node(op, ["same", "w"], [name])], name, [], [output])

    weight = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Identity", ["x"], ["same"]),
                helper.make_node(
                    "If", ["c"], ["a"], then_branch=branch("MatMul", "t"), else_branch=branch("MatMul", "e")
                ),
                helper.make_node("Add", ["a", "same"], ["y"]),
            ],
            "test",
            [helper.make_tensor_value_info("x", 1, [1, 64]), helper.make_tensor_value_info("c", 9, [])],
            [helper.make_tensor_value_info("y", 1, [1, 64])],
            [weight],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    graph = load(model)
    simplified(graph, ctx)
    assert_same_function(model, to_proto(graph), tolerance=0, feeds=random_feeds(model, 0))
    assert simplified(graph, ctx) == 0


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        (["c: y = Conv(x, w)", "i: z = Identity(anchors)"], {"anchors": (10, 4)}),
        (["c: y = Conv(x, w)", "i: z = Identity(anchors)"], {"anchors": (100, 40)}),
        (["c: y = Conv(x, w)", "d: z = Conv(k, w)"], {"k": (1, 4, 3, 3)}),
        (["c: y = Conv(x, w)", "i: z = Identity(x)"], {}),
    ],
)
def test_an_output_that_becomes_constant_stays_an_output(
    nodes: list[str], weights: dict[str, tuple[int, ...]], ctx: PassContext
) -> None:
    graph = build(nodes, {"w": (8, 4, 3, 3), **weights}, ["y", "z"])
    before = to_proto(graph)
    run_pass(Simplify(), graph, ctx)
    refresh(graph)
    assert verify.problems(graph) == []
    assert [tensor.name for tensor in graph.outputs] == ["y", "z"]
    assert_same_function(before, to_proto(graph), tolerance=1e-5)


def test_attention_stays_in_operators_that_every_runtime_has(ctx: PassContext) -> None:
    lines = ["v: v = MatMul(x, wv)", "bv: v0 = Add(v, b)", "rv: v1 = Reshape(v0, apart)"]
    lines += ["tv: v2 = Transpose<perm = [0, 2, 1, 3]>(v1)", "k: k = MatMul(x, wk)", "bk: k0 = Add(k, b)"]
    lines += ["rk: k1 = Reshape(k0, apart)", "tk: k2 = Transpose<perm = [0, 2, 3, 1]>(k1)", "q: q = MatMul(x, wq)"]
    lines += ["bq: q0 = Add(q, b)", "rq: q1 = Reshape(q0, apart)", "tq: q2 = Transpose<perm = [0, 2, 1, 3]>(q1)"]
    lines += ["p: p = MatMul(q2, k2)", "m: m = Mul(p, half)", "s: s = Softmax<axis = -1>(m)", "c: c = MatMul(s, v2)"]
    lines += ["tc: c1 = Transpose<perm = [0, 2, 1, 3]>(c)", "rc: c2 = Reshape(c1, together)", "o: y = MatMul(c2, wo)"]
    weights = {"wv": (8, 8), "wk": (8, 8), "wq": (8, 8), "wo": (8, 3), "b": (8,)}
    more = {"half": np.array(0.5, np.float32), "apart": [1, 4, 2, 4], "together": [1, 4, 8]}
    graph = build(lines, {**weights, **more}, ["y"], shape=[1, 4, 8])
    run_pass(Simplify(), graph, ctx)
    assert {node.domain for node in graph.nodes} <= {None, ""}
