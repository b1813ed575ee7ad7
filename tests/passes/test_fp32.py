from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.oracles import assert_same_function, random_feeds, run
from tests.passes.feeding import run_pass
from yocc.compiler.graph import load, refresh, to_proto, verify
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.passes.fp32 import Fp32
from yocc.passes.simplify import Simplify

HALF, SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT


def half_model(boundary: int, domain: str = "") -> onnx.ModelProto:
    """A convolution and a sum in fp16; casts inside where the boundary is fp32."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["h", "w"], ["c"], name="conv"),
        helper.make_node("Add", ["c", "shift"], ["s"], name="add", domain=domain),
    ]
    if boundary == SINGLE:
        nodes.insert(0, helper.make_node("Cast", ["x"], ["h"], name="narrow", to=HALF))
        nodes.append(helper.make_node("Cast", ["s"], ["y"], name="widen", to=SINGLE))
    else:
        nodes[0].input[0], nodes[-1].output[0] = "x", "y"
    weights = {"w": random.normal(size=(4, 3, 3, 3)), "shift": random.normal(size=(1, 4, 1, 1))}
    graph = helper.make_graph(
        nodes,
        "half",
        [helper.make_tensor_value_info("x", boundary, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", boundary, [1, 4, 6, 6])],
        [numpy_helper.from_array(values.astype(np.float16), name) for name, values in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def widened(model: onnx.ModelProto | Path) -> tuple[onnx.ModelProto, int, PassContext]:
    graph, ctx = load(model), PassContext(Target("test"))
    rewrites = run_pass(Fp32(), graph, ctx)
    refresh(graph)
    assert verify.problems(graph) == []
    return to_proto(graph), rewrites, ctx


@pytest.mark.parametrize("boundary", [HALF, SINGLE])
def test_the_function_stays_and_no_weight_is_half(boundary: int) -> None:
    model = half_model(boundary)
    wide, rewrites, _ = widened(model)
    assert rewrites > 0
    assert all(tensor.data_type == SINGLE for tensor in wide.graph.initializer)
    assert [value.type.tensor_type.elem_type for value in [*wide.graph.input, *wide.graph.output]] == [boundary] * 2
    assert_same_function(model, wide, tolerance=2e-3)


def test_a_second_run_changes_nothing() -> None:
    wide, _, _ = widened(half_model(SINGLE))
    assert widened(wide)[1] == 0


def test_an_operator_of_another_domain_keeps_the_model_as_it_is() -> None:
    _, rewrites, ctx = widened(half_model(SINGLE, domain="somebody"))
    assert rewrites == 0
    assert "Half precision stays" in ctx.notes[0].message


def test_a_single_precision_model_is_left_alone(shared_data: Path) -> None:
    assert widened(shared_data / "models" / "yolov5n.onnx")[1] == 0


@pytest.mark.slow
def test_the_published_half_precision_detector_can_be_read_in_single(shared_data: Path) -> None:
    path = shared_data / "models" / "yolov5n_fp16cast_op12.onnx"
    graph = load(path)
    assert run_pass(Fp32(), graph, PassContext(Target("test"))) > 0
    refresh(graph)
    assert run_pass(Simplify(), graph, PassContext(Target("test"))) > 0
    refresh(graph)
    assert not any(node.op == "Cast" for node in graph.nodes)
    reference = onnx.load(path)
    feeds = random_feeds(reference, seed=0)
    before, after = run(path, feeds)["output"], run(to_proto(graph), feeds)["output"]
    np.testing.assert_allclose(after[..., 4:], before[..., 4:], atol=0.01)


def double_model(weight: bool) -> onnx.ModelProto:
    """A product in double precision between casts, or arithmetic alone; a mask beyond single precision in both."""
    value = numpy_helper.from_array(np.linspace(-1, 1, 24).reshape(4, 6), "w")
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("MatMul", ["wide", "w"], ["c"]) if weight else helper.make_node("Neg", ["wide"], ["c"]),
        helper.make_node("Max", ["c", "mask"], ["m"]),
        helper.make_node("Cast", ["m"], ["y"], to=SINGLE),
    ]
    graph = helper.make_graph(
        nodes,
        "double",
        [helper.make_tensor_value_info("x", SINGLE, [2, 4])],
        [helper.make_tensor_value_info("y", SINGLE, [2, 6 if weight else 4])],
        [value, numpy_helper.from_array(np.array([-1e300]), "mask")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_network_in_double_precision_becomes_single() -> None:
    model = double_model(weight=True)
    single, _, _ = widened(model)
    assert {tensor.data_type for tensor in single.graph.initializer} == {SINGLE}
    mask = next(tensor for tensor in single.graph.initializer if tensor.name == "mask")
    assert numpy_helper.to_array(mask) == np.finfo(np.float32).min
    assert_same_function(model, single, tolerance=1e-5)


def test_arithmetic_in_double_precision_keeps_its_digits() -> None:
    assert widened(double_model(weight=False))[1] == 0


def test_inputs_and_outputs_stay_double() -> None:
    model = double_model(weight=True)
    del model.graph.node[0], model.graph.node[-1]
    model.graph.node[0].input[0], model.graph.node[-1].output[0] = "x", "y"
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    single, _, _ = widened(model)
    assert [each.type.tensor_type.elem_type for each in (*single.graph.input, *single.graph.output)] == [11, 11]
    feeds = {"x": np.linspace(0, 1, 8).reshape(2, 4)}
    np.testing.assert_allclose(run(single, feeds)["y"], run(model, feeds)["y"], rtol=1e-5, atol=1e-6)
