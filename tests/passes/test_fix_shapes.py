from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.oracles import run
from tests.passes.feeding import run_pass
from yocc.compiler.graph import load, to_proto
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.pipeline.target import Target
from yocc.passes.fix_shapes import FixShapes


def open_model(last: str = "Conv") -> onnx.ModelProto:
    """A convolution whose input has an open height and width, then a node that may find any number of things."""
    weight = numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["c" if last != "Conv" else "y"], name="conv")]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, "height", "width"])
    if last != "Conv":
        nodes.append(helper.make_node("NonZero", ["c"], ["y"], name="found"))
        output = helper.make_tensor_value_info("y", TensorProto.INT64, [4, "found"])
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "height", "width"])
    graph = helper.make_graph(nodes, "open", [source], [output], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_open_shapes_become_those_given_and_the_function_stays() -> None:
    model = open_model()
    ctx = PassContext(Target("any"), input_shapes={"x": (1, 3, 4, 6)})
    graph, runs = Pipeline.parse("fix_shapes").run(load(model), ctx)
    assert [list(tensor.shape) for tensor in (*graph.inputs, *graph.outputs)] == [[1, 3, 4, 6], [1, 2, 4, 6]]
    assert runs[0].rewrites == 2
    feeds = {"x": np.random.default_rng(0).normal(size=(1, 3, 4, 6)).astype(np.float32)}
    np.testing.assert_array_equal(run(to_proto(graph), feeds)["y"], run(model, feeds)["y"])


def test_shapes_that_are_fixed_stay() -> None:
    ctx = PassContext(Target("any"), input_shapes={"x": (1, 3, 4, 6)})
    graph = load(open_model())
    run_pass(FixShapes(), graph, ctx)
    assert run_pass(FixShapes(), graph, ctx) == 0


def test_an_output_that_depends_on_data_stays_open_with_a_note() -> None:
    ctx = PassContext(Target("any"), input_shapes={"x": (1, 3, 4, 6)})
    graph = load(open_model("NonZero"))
    assert run_pass(FixShapes(), graph, ctx) == 1
    assert "found" in graph.outputs[0].shape
    assert [note for note in ctx.notes if "'y'" in note.message]
