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
